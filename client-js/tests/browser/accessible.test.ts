/** Can the demo be read, in light and dark, and told by a screen reader what is what? */

import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";

import { describeInBrowser, launch, openTab, stack } from "./chromium.js";

/** Text with less contrast than WCAG 2.2 AA asks for (4.5 to 1), as "ratio text". */
function faintTexts(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true })!;
    const rgba = (colour: string): number[] => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = ([r, g, b]: number[]): number => {
      const [x, y, z] = [r, g, b].map((part = 0) => {
        const share = part / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * x! + 0.7152 * y! + 0.0722 * z!;
    };
    const behind = (element: Element | null): number[] => {
      for (let at = element; at; at = at.parentElement) {
        const colour = rgba(getComputedStyle(at).backgroundColor);
        if (colour[3] === 255) {
          return colour;
        }
      }
      return [255, 255, 255, 255];
    };
    const found: string[] = [];
    for (const element of document.querySelectorAll("body *")) {
      const text = [...element.childNodes].find((node) => node.nodeType === 3 && node.textContent?.trim());
      const disabled = element.matches(":disabled, noscript") || !element.checkVisibility();
      if (!text || disabled) {
        continue;
      }
      const lights = [luminance(rgba(getComputedStyle(element).color)), luminance(behind(element))];
      const ratio = (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
      if (ratio < 4.5) {
        found.push(`${ratio.toFixed(2)} ${element.tagName}.${element.className} ${text.textContent}`);
      }
    }
    return found;
  });
}

describeInBrowser("the demo page", () => {
  let browser: Browser;

  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(async () => {
    await browser?.close();
  });

  test.each(["light", "dark"] as const)("has enough contrast in %s", async (colorScheme) => {
    const { page } = await openTab(browser, `eve-${colorScheme}`);
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.click("#ship");
    await page.locator('#shipments [data-done="yes"]').waitFor();
    await page.click("#peek");
    await page.locator("#peek-result:not(:empty)").waitFor();
    await page.fill("#chat-text", "hello");
    await page.press("#chat-text", "Enter");
    await page.locator("#messages .message:not(.pending)").waitFor();
    await page.locator('.frame[data-event$="OrderShipped"] summary').click();
    await page.click("#pause");

    expect(await faintTexts(page)).toEqual([]);
    await page.context().close();
  });

  test("names every control", async () => {
    const { page } = await openTab(browser, "eve-names");

    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLInputElement>("input, select, button, summary, [role=group]")]
        .filter((control) => control.checkVisibility())
        .filter((control) => {
          const labels = [...(control.labels ?? [])].map((label) => label.textContent).join("");
          return !(labels + (control.getAttribute("aria-label") ?? "") + control.textContent).trim();
        })
        .map((control) => control.outerHTML),
    );

    expect(nameless).toEqual([]);
    await page.context().close();
  });

  test("can be worked with the keyboard alone", async () => {
    const { page } = await openTab(browser, "eve-keys");

    await page.focus("#ship");
    await page.keyboard.press("Enter");
    await page.locator('#shipments [data-done="yes"]').waitFor();
    await page.locator('.frame[data-event$="OrderShipped"] summary').focus();
    await page.keyboard.press("Enter");

    await page.locator('.frame[data-event$="OrderShipped"] .why').waitFor();
    await page.context().close();
  });

  test("asks for a name with enough contrast, too", async () => {
    const page = await browser.newPage({ colorScheme: "dark" });
    await page.goto(stack.demo);
    await page.locator("#sign-in").waitFor();

    expect(await faintTexts(page)).toEqual([]);
    await page.close();
  });
});
