import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'

/** A far side in its own process, so that it shares no event loop with what is measured. */
export interface FarSide extends AsyncDisposable {
  /** What it said when it was ready. */
  readonly ready: Record<string, unknown>
  /** Asks it something and waits for the next thing it says. */
  ask(message: Record<string, unknown>): Promise<Record<string, unknown>>
}

/** Starts `file`, a script of this folder or anywhere; it sends one message when it is ready and ends when its parent goes. */
export async function startFarSide(file: string | URL, args: readonly string[] = []): Promise<FarSide> {
  const child: ChildProcess = fork(new URL(file, import.meta.url), args, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const heard = async () => {
    const [message]: unknown[] = await once(child, 'message')
    return isRecord(message) ? message : {}
  }
  const ready = await heard()
  return {
    ready,
    ask(message) {
      const answer = heard()
      child.send(message)
      return answer
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return
      const gone = once(child, 'exit')
      child.disconnect()
      await gone
    },
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
