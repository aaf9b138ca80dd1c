/** Presence under unmodified pusher-js and Echo: members, their ids, and what is too much. */

import type { PresenceChannel } from "pusher-js";
import { describe, expect, test } from "vitest";

import { eventually } from "../live/eventually.js";
import { fresh, guest, guestEcho, memberAs, next, server, signedIn, subscribed } from "./clients.js";

interface Shown {
  id: unknown;
  info: unknown;
}

async function enter(pusher: ReturnType<typeof guest>, name: string): Promise<PresenceChannel> {
  return (await subscribed(pusher.subscribe(name))) as PresenceChannel;
}

function everybody(channel: PresenceChannel): Shown[] {
  const shown: Shown[] = [];
  channel.members.each((member: Shown) => shown.push({ id: member.id, info: member.info }));
  return shown;
}

test.each([
  ["a number", 10],
  ["a string of digits", "10"],
  ["a name", "ada"],
])("a user id that is %s keeps its type", async (_, user_id) => {
  const name = fresh("presence-room");
  const grace = await enter(guest("grace"), name);
  const added = next<Shown>(grace, "pusher:member_added");
  const removed = next<Shown>(grace, "pusher:member_removed");

  const pusher = memberAs({ user_id, user_info: { name: "Ada" } });
  const ada = await enter(pusher, name);

  expect(ada.members.myID).toBe(user_id);
  expect(ada.members.me).toEqual({ id: user_id, info: { name: "Ada" } });
  expect(await added).toEqual({ id: user_id, info: { name: "Ada" } });
  pusher.disconnect();
  expect(await removed).toMatchObject({ info: { name: "Ada" } });
  expect(grace.members.count).toBe(1);
});

test("a number and the same digits as text are one member", async () => {
  const name = fresh("presence-room");
  const watcher = await enter(guest("grace"), name);
  const added: unknown[] = [];
  watcher.bind("pusher:member_added", ({ id }: Shown) => added.push(id));

  const asNumber = await enter(memberAs({ user_id: 10 }), name);
  const asText = await enter(memberAs({ user_id: "10" }), name);
  await enter(guest("linus"), name);
  await eventually(() => added.includes("linus"));

  expect(added).toEqual([10, "linus"]);
  await eventually(() => [asText, asNumber].every(({ members }) => members.get("linus")));
  expect(everybody(asText).map(({ id }) => id).sort()).toEqual(["10", "grace", "linus"]);
  expect(asNumber.members.count).toBe(3);
});

test("everybody sees the same members, themselves included", async () => {
  const name = fresh("presence-room");
  const users = ["ada", "grace", "linus"];
  const channels: PresenceChannel[] = [];
  for (const user of users) {
    channels.push(await enter(guest(user), name));
  }

  await eventually(() => channels.every(({ members }) => members.count === 3));
  for (const channel of channels) {
    expect(everybody(channel).sort((a, b) => String(a.id).localeCompare(String(b.id)))).toEqual(
      users.map((id) => ({ id, info: { name: id } })),
    );
  }
});

test("a member without user_info is a member", async () => {
  const name = fresh("presence-room");
  const grace = await enter(guest("grace"), name);
  const added = next<Shown>(grace, "pusher:member_added");

  await enter(memberAs({ user_id: "ada" }), name);

  expect((await added).id).toBe("ada");
  expect(grace.members.count).toBe(2);
});

describe("what is too much", () => {
  test.each([
    ["a user id of 129 characters", { user_id: "a".repeat(129) }],
    ["user_info of more than 1 kB", { user_id: "ada", user_info: { bio: "x".repeat(1100) } }],
  ])("%s is refused, on the channel", async (_, member) => {
    const channel = memberAs(member).subscribe(fresh("presence-room"));

    const refusal = await next<{ error: string }>(channel, "pusher:subscription_error");

    expect(refusal).toMatchObject({ type: expect.any(String) as string, status: expect.any(Number) as number });
    expect(refusal.error).toMatch(/user_id|user_info/);
  });

  test("128 characters and 1 kB are allowed", async () => {
    const member = { user_id: "a".repeat(128), user_info: { bio: "x".repeat(1000) } };

    const channel = await enter(memberAs(member), fresh("presence-room"));

    expect(channel.members.me).toEqual({ id: member.user_id, info: member.user_info });
  });
});

describe("a signed-in user", () => {
  const params = { member: "signed-in" };

  test("enters without channel_data, as who they signed in as", async () => {
    const name = fresh("presence-room");
    const grace = await enter(guest("grace"), name);
    const added = next<Shown>(grace, "pusher:member_added");

    const pusher = await signedIn(guest("ada", { params }));
    const channel = await enter(pusher, name);

    expect(channel.members.me).toEqual({ id: "ada", info: { name: "ada" } });
    expect(await added).toEqual({ id: "ada", info: { name: "ada" } });
  });

  test("may subscribe before the sign-in is through: pusher-js waits for it", async () => {
    const pusher = guest("ada", { params });
    pusher.signin();

    const channel = await enter(pusher, fresh("presence-room"));

    expect(channel.members.me.id).toBe("ada");
  });
});

test.each(["pusher", "reverb"] as const)("Echo's %s sees here, joining and leaving", async (broadcaster) => {
  const room = fresh("room");
  const seen: string[] = [];
  const echo = guestEcho(broadcaster, "ada");
  await new Promise<void>((done) => {
    echo
      .join(room)
      .here((users: { name: string }[]) => {
        seen.push(`here ${users.map(({ name }) => name).join()}`);
        done();
      })
      .joining(({ name }: { name: string }) => seen.push(`joining ${name}`))
      .leaving(({ name }: { name: string }) => seen.push(`leaving ${name}`));
  });

  const other = guestEcho(broadcaster, "grace");
  other.join(room);
  await eventually(() => seen.length === 2);
  other.leave(room);
  await eventually(() => seen.length === 3);

  expect(seen).toEqual(["here ada", "joining grace", "leaving grace"]);
});

test("the HTTP API counts members once and lists them as text", async () => {
  const name = fresh("presence-room");
  for (const user_id of [10, "10", "ada"]) {
    await enter(memberAs({ user_id }), name);
  }

  const counted = await server.get({ path: `/channels/${name}`, params: { info: "user_count" } });
  const listed = await server.get({ path: `/channels/${name}/users` });

  expect(await counted.json()).toEqual({ occupied: true, user_count: 2 });
  const { users } = (await listed.json()) as { users: { id: string }[] };
  expect(users.map(({ id }) => id).sort()).toEqual(["10", "ada"]);
});
