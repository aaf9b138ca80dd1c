/** A child process that is stopped with us, and whose last words are kept for the report. */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";

const LOG_KEPT = 20_000;
const STOP_MS = 15_000;

export class Process {
  private readonly child: ChildProcess;
  private log = "";
  private firstLine: Promise<string>;

  constructor(
    readonly name: string,
    command: string,
    args: readonly string[],
    options: { env: NodeJS.ProcessEnv; cwd: string },
  ) {
    // Standard input is a pipe: when this process ends, however it ends, the child sees it close.
    this.child = spawn(command, args, { ...options, stdio: ["pipe", "pipe", "pipe"] });
    this.firstLine = new Promise((resolve) => {
      this.child.stdout?.on("data", (data: Buffer) => {
        this.keep(data);
        const end = this.log.indexOf("\n");
        if (end >= 0) {
          resolve(this.log.slice(0, end));
        }
      });
    });
    this.child.stderr?.on("data", (data: Buffer) => this.keep(data));
    this.child.on("error", (error) => this.keep(String(error)));
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Wait for the first line of standard output. */
  async printed(): Promise<string> {
    return this.orFail(this.firstLine, "printed nothing");
  }

  /** Wait until `address` answers 200. */
  async answers(address: string): Promise<void> {
    const up = async (): Promise<void> => {
      while (this.running) {
        try {
          if ((await fetch(address, { signal: AbortSignal.timeout(2000) })).ok) {
            return;
          }
        } catch {
          // not yet
        }
        await pause(50);
      }
      throw new Error("ended");
    };
    await this.orFail(up(), `did not answer at ${address}`);
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (!this.running) {
      return;
    }
    const gone = once(this.child, "exit");
    this.child.kill(signal);
    if (signal === "SIGTERM") {
      this.child.stdin?.end();
    }
    const timer = setTimeout(() => this.child.kill("SIGKILL"), STOP_MS);
    await gone;
    clearTimeout(timer);
  }

  private async orFail<T>(wanted: Promise<T>, problem: string, within = 30_000): Promise<T> {
    const ended = new Promise<never>((_, reject) => {
      this.child.once("exit", () => reject(new Error("ended")));
      this.child.once("error", reject);
      setTimeout(() => reject(new Error("no answer in time")), within).unref();
    });
    try {
      return await Promise.race([wanted, ended]);
    } catch (error) {
      throw new Error(`${this.name} ${problem} (${String(error)}); its log ends:\n${this.log}`, {
        cause: error,
      });
    }
  }

  private keep(data: Buffer | string): void {
    this.log = (this.log + String(data)).slice(-LOG_KEPT);
  }
}
