import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'

export type Said = Readonly<Record<string, unknown>>

/** A bleno peripheral in a process of its own. */
export interface PeripheralProcess extends AsyncDisposable {
  readonly pid: number
  readonly mac: string
  tell(message: Said): void
  /** The next thing it says that `wants` accepts; what it said before counts too, unless it was taken already. */
  said(wants: (message: Said) => boolean): Promise<Said>
  /** Ends it at once, as a power cut does. */
  kill(): Promise<void>
}

/** Starts `bleno-peripheral.ts` on an HCI port and waits until it advertises. */
export async function startPeripheral(port: string, name: string): Promise<PeripheralProcess> {
  const child: ChildProcess = fork(new URL('./bleno-peripheral.ts', import.meta.url), [port, name], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    // bleno advertises every 100 ms; on the air of a test nobody else minds more.
    env: { ...process.env, BLENO_ADVERTISING_INTERVAL: '30' },
  })
  const untaken: Said[] = []
  const waiting = new Set<{ wants: (message: Said) => boolean; take: (message: Said) => void }>()
  child.on('message', (message: unknown) => {
    if (typeof message !== 'object' || message === null) return
    const said: Said = { ...message }
    for (const one of waiting) {
      if (!one.wants(said)) continue
      waiting.delete(one)
      return one.take(said)
    }
    untaken.push(said)
  })
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill(signal)
    await gone
  }
  const said = (wants: (message: Said) => boolean): Promise<Said> => {
    const at = untaken.findIndex(wants)
    if (at >= 0) return Promise.resolve(untaken.splice(at, 1)[0]!)
    return new Promise((take) => waiting.add({ wants, take }))
  }
  const { mac } = await said((message) => message['ready'] === true)
  return {
    pid: child.pid ?? -1,
    mac: String(mac),
    tell: (message) => void child.send(message),
    said,
    kill: () => end('SIGKILL'),
    [Symbol.asyncDispose]: () => end('SIGTERM'),
  }
}
