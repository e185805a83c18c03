import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Duplex } from 'node:stream'
import { CHROMIUM, CHROMIUM_ARGS } from '../../test/harness/browser.ts'
import { temporaryFolder } from '../../test/harness/folder.ts'
import { step } from './step.ts'

/** Longer than anything that is asked of it. */
const ANSWER_MS = 60_000

/** One page in a Chromium that nothing else listens to. */
export interface BarePage extends AsyncDisposable {
  /** Of the page; a promise is waited for. */
  evaluate<T>(expression: string): Promise<T>
  /** A command of the DevTools protocol to the page. */
  send<T>(method: string, params?: object): Promise<T>
  /** Process ids of all that show pages. */
  renderers(): Promise<number[]>
}

interface Answer {
  readonly id?: number
  readonly result?: object
  readonly error?: { readonly message: string }
}

/**
 * Opens a page without the browser's driver: that one has the browser keep up to 200 MiB of what each page received, in
 * the page's own process, to be able to show it. Whoever measures the memory of a page for long measures that.
 */
export async function startBarePage(url: string, width: number, height: number): Promise<BarePage> {
  await using starting = new AsyncDisposableStack()
  const profile = starting.use(temporaryFolder('bench-page'))
  const args = [...CHROMIUM_ARGS, '--headless', '--ignore-certificate-errors', '--remote-debugging-pipe']
  const child = spawn(CHROMIUM, [...args, `--user-data-dir=${profile.path}`, `--window-size=${width},${height}`], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
  })
  const gone = once(child, 'exit')
  starting.defer(async () => {
    child.kill('SIGKILL')
    await gone
  })
  const waiting = new Map<number, (answer: Answer) => void>()
  const [, , , to, from] = child.stdio
  if (!(to instanceof Duplex && from instanceof Duplex)) throw new Error('the browser was started without its pipes')
  let rest = ''
  from.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\0')
    rest = parts.pop()!
    for (const part of parts) {
      const answer = JSON.parse(part) as Answer
      if (answer.id !== undefined) waiting.get(answer.id)?.(answer)
    }
  })
  to.on('error', () => {})
  let asked = 0
  const call = async <T>(method: string, params: object = {}, sessionId?: string): Promise<T> => {
    const id = ++asked
    const answered = new Promise<Answer>((resolve) => waiting.set(id, resolve))
    to.write(`${JSON.stringify({ id, method, params, sessionId })}\0`)
    const { result, error } = await step(method, ANSWER_MS, answered).finally(() => waiting.delete(id))
    if (error !== undefined) throw new Error(`${method}: ${error.message}`)
    return result as T
  }
  const { targetId } = await call<{ targetId: string }>('Target.createTarget', { url: 'about:blank' })
  const { sessionId } = await call<{ sessionId: string }>('Target.attachToTarget', { targetId, flatten: true })
  const send = <T>(method: string, params?: object) => call<T>(method, params, sessionId)
  const size = { width, height, deviceScaleFactor: 1, mobile: false }
  await send('Emulation.setDeviceMetricsOverride', size)
  await send('Page.navigate', { url })
  const held = starting.move()
  return {
    send,
    async evaluate<T>(expression: string) {
      const { result, exceptionDetails } = await send<{
        result: { value: T }
        exceptionDetails?: { exception?: { description?: string } }
      }>('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })
      if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception?.description ?? expression)
      return result.value
    },
    async renderers() {
      const { processInfo } = await call<{ processInfo: { type: string; id: number }[] }>('SystemInfo.getProcessInfo')
      return processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id)
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  }
}
