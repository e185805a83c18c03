import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { keptPort } from '../../hil/kept-port.ts'
import { temporaryFolder } from '../harness/folder.ts'
import { eventually } from '../harness/until.ts'
import { prometheus } from './prometheus.ts'

export interface Found {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [number, string]
}

/** Debian's Prometheus on loopback, in a folder of its own, with a configuration given as an object. */
export class RealPrometheus implements AsyncDisposable {
  readonly #url: string
  readonly #stack: AsyncDisposableStack

  private constructor(port: number, stack: AsyncDisposableStack) {
    this.#url = `http://127.0.0.1:${port}`
    this.#stack = stack
  }

  /** `config` is what a person writes as prometheus.yml. JSON is YAML. */
  static async start(config: object): Promise<RealPrometheus> {
    await using stack = new AsyncDisposableStack()
    const folder = stack.use(temporaryFolder('prometheus')).path
    const file = join(folder, 'prometheus.yml')
    writeFileSync(file, JSON.stringify(config))
    // Prometheus takes no port 0.
    const port = await keptPort()
    const child = spawn(
      prometheus!,
      [
        `--config.file=${file}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-8000)
    })
    const ended = once(child, 'exit')
    stack.defer(async () => {
      child.kill('SIGTERM')
      await ended
    })
    const running = new RealPrometheus(port, stack.move())
    await eventually(async () => {
      if (child.exitCode !== null) throw new Error(`Prometheus ended: ${said}`)
      return (await running.#ask('/-/ready')).ok
    }, 'Prometheus is ready')
    return running
  }

  /** Of an instant query. Rejects with Prometheus' own words for one that it cannot read. */
  async query(expr: string): Promise<readonly Found[]> {
    const answer = await this.#ask(`/api/v1/query?${new URLSearchParams({ query: expr })}`)
    const { error, data } = (await answer.json()) as { error?: string; data?: { result: Found[] } }
    if (data === undefined) throw new Error(`${error}: ${expr}`)
    return data.result
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync()
  }

  #ask(path: string): Promise<Response> {
    return fetch(`${this.#url}${path}`, { signal: AbortSignal.timeout(5_000) })
  }
}
