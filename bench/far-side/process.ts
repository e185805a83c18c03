import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'

/** A far side in its own process, so that it shares no event loop with what is measured. */
export interface FarSide extends AsyncDisposable {
  /** What it said when it was ready. */
  readonly ready: Record<string, unknown>
  /** Asks it something and waits for the next thing it says. */
  ask(message: Record<string, unknown>): Promise<Record<string, unknown>>
  /** The next thing it says by itself that `wants` accepts. */
  next(wants: (message: Record<string, unknown>) => boolean, withinMs: number): Promise<Record<string, unknown>>
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
    next(wants, withinMs) {
      return new Promise((resolve, reject) => {
        const listen = (message: unknown) => {
          if (!isRecord(message) || !wants(message)) return
          clearTimeout(timer)
          child.off('message', listen)
          resolve(message)
        }
        const timer = setTimeout(() => {
          child.off('message', listen)
          reject(new Error(`the far side ${String(file)} did not say in ${withinMs} ms what was expected`))
        }, withinMs)
        child.on('message', listen)
      })
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const gone = once(child, 'exit')
      child.disconnect()
      await gone
    },
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
