import { type Duplex, duplexPair, PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../api/errors.ts'
import { loopbackStream } from '../../api/link/loopback-stream.ts'
import { CHANNEL } from '../../api/link/streams.ts'
import type { Json } from '../../api/resources.ts'
import { SpdyConnection } from '../../api/spdy/connection.ts'
import type { SpdyStream } from '../../api/spdy/stream.ts'
import { commandEnd } from './command-end.ts'
import { streamsBelow } from './streams.ts'

const POD = { namespace: 'plant', pod: 'work', uid: 'above-1' }
const EXEC: Json = {
  ...{ ...POD, container: 'main', command: ['cat', 'a b'] },
  ...{ stdin: true, stdout: true, stderr: true, tty: false },
}

/** The API beneath: takes streams of an upgraded connection and gives them to the test, by their type. */
class ApiBelow {
  readonly asked: string[] = []
  readonly streams = new Map<string, SpdyStream>()
  readonly closed = Promise.withResolvers<void>()
  refusal: SluiceError | undefined
  log = new PassThrough()

  readonly client = {
    streamApart: async (path: string, query: object) => {
      this.#ask(path, JSON.stringify(query))
      return this.log
    },
    upgrade: async (path: string, query: URLSearchParams, protocol: string): Promise<Duplex> => {
      this.#ask(path, `${query} ${protocol}`)
      const [near, far] = duplexPair({ highWaterMark: 16 * 1024 })
      const onStream = (stream: SpdyStream) => {
        this.streams.set(stream.headers.get('streamtype') ?? '', stream)
        stream.accept()
      }
      const connection = new SpdyConnection(far, { role: 'server', onStream })
      void connection.closed.then(() => this.closed.resolve())
      return near
    },
  }

  #ask(path: string, how: string): void {
    this.asked.push(`${path} ${how}`)
    if (this.refusal !== undefined) throw this.refusal
  }
}

/** Asks for a stream as the hub above does; gives its end, and the error that the asking ended with, if it did. */
function ask(api: ApiBelow, kind: string, target: Json, has = true) {
  const [above, endpoint] = loopbackStream()
  const stats = async (): Promise<Json> => ({ used: 1 })
  const handler = streamsBelow({ client: api.client, has: () => has, stats })(kind)
  const stop = new AbortController()
  endpoint.outcome.catch(() => {}).finally(() => stop.abort(new SluiceError('SLUICE_STREAM_LOST', 'over')))
  const served = handler!({ kind, target, endpoint, ready: () => endpoint.ready(), signal: stop.signal }).then(
    (result) => endpoint.done(result),
    (thrown: unknown) => endpoint.fail(thrown),
  )
  return { above, served }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('streams of a pod that runs beneath this supernode', () => {
  it('a command has its words, its input to the end, both outputs and its exit code', async () => {
    const api = new ApiBelow()
    const { above, served } = ask(api, 'exec', EXEC)
    await above.opened
    expect(api.asked).toEqual([
      '/api/v1/namespaces/plant/pods/work/exec container=main&stdin=true&stdout=true&stderr=true&command=cat&command=a+b v4.channel.k8s.io',
    ])
    const [out, err] = [text(above.channel(CHANNEL.stdout)), text(above.channel(CHANNEL.stderr))]
    above.channel(CHANNEL.stdin).end('all of it')
    expect(await text(api.streams.get('stdin')!)).toBe('all of it')
    api.streams.get('stdout')!.end('some')
    api.streams.get('stderr')!.end('trouble')
    const causes = [{ reason: 'ExitCode', message: '3' }]
    api.streams.get('error')!.end(JSON.stringify({ status: 'Failure', reason: 'NonZeroExitCode', details: { causes } }))
    expect(await above.outcome).toEqual({ exitCode: 3 })
    expect([await out, await err]).toEqual(['some', 'trouble'])
    await served
    await api.closed.promise
  })

  it('a reader above that does not read holds up the writer beneath', async () => {
    const api = new ApiBelow()
    const { above, served } = ask(api, 'exec', EXEC)
    await above.opened
    const stdout = api.streams.get('stdout')!
    let taken = 0
    const chunk = Buffer.alloc(64 * 1024)
    const write = (): void => {
      stdout.write(chunk, () => {
        taken++
        if (!stdout.destroyed) setImmediate(write)
      })
    }
    write()
    let before = -1
    for (let still = 0; still < 50; ) {
      await turn()
      still = taken === before ? still + 1 : 0
      before = taken
      // What may be on the way, from the first buffer to the last, is far less than this.
      expect(taken * chunk.length).toBeLessThan(8 * 2 ** 20)
    }
    expect(taken).toBeGreaterThan(0)
    const held = taken
    above.channel(CHANNEL.stdout).resume()
    while (taken < held + 100) await turn()
    above.fail(new SluiceError('SLUICE_STREAM_CANCELLED', 'enough'))
    await served
    await api.closed.promise
  })

  it('a connection to a port ends in each direction by itself, and says why it could not be made', async () => {
    const api = new ApiBelow()
    const { above } = ask(api, 'portForward', { ...POD, port: 80 })
    await above.opened
    expect(api.asked[0]).toBe('/api/v1/namespaces/plant/pods/work/portforward ports=80 portforward.k8s.io')
    const channel = above.channel(CHANNEL.stdin)
    channel.end('question')
    const data = api.streams.get('data')!
    expect(data.headers.get('port')).toBe('80')
    expect(await text(data)).toBe('question')
    const answer = text(channel)
    data.end('answer')
    api.streams.get('error')!.end()
    expect(await answer).toBe('answer')
    expect(await above.outcome).toEqual({})

    const other = new ApiBelow()
    const refused = ask(other, 'portForward', { ...POD, port: 81 })
    await refused.above.opened
    other.streams.get('error')!.end('error forwarding port 81 to pod plant/work: nobody listens')
    await expect(refused.above.outcome).rejects.toMatchObject({
      code: 'SLUICE_UPLINK_STREAM',
      message: 'nobody listens',
    })
  })

  it('a log is asked for as it was asked for above, and one that breaks off is told', async () => {
    const api = new ApiBelow()
    const target = { ...POD, container: 'main', follow: true, tailLines: 5, sinceMs: 1_767_225_600_000 }
    const { above } = ask(api, 'logs', target)
    await above.opened
    expect(api.asked[0]).toBe(
      '/api/v1/namespaces/plant/pods/work/log {"container":"main","follow":true,"tailLines":5,"sinceTime":"2026-01-01T00:00:00.000Z"}',
    )
    api.log.write('a line\n')
    above.channel(CHANNEL.stdout).resume()
    await turn()
    api.log.destroy(new Error('aborted'))
    await expect(above.outcome).rejects.toMatchObject({ code: 'SLUICE_STREAM_LOST' })
  })

  it('whoever goes away above ends what was asked for beneath', async () => {
    const api = new ApiBelow()
    const { above, served } = ask(api, 'attach', EXEC)
    await above.opened
    above.fail(new SluiceError('SLUICE_STREAM_CANCELLED', 'enough'))
    await api.closed.promise
    await served
  })

  it('a refusal is told as a gateway would tell it, without the path it came by', async () => {
    const said = async (code: string, message: string) => {
      const api = new ApiBelow()
      api.refusal = new SluiceError(code, `POST /api/v1/namespaces/plant/pods/work/exec: ${message}`)
      return ask(api, 'exec', EXEC).above.opened.then(
        () => 'opened',
        (error: SluiceError) => `${error.code} ${error.message}`,
      )
    }
    const away = "gateway 'gw-1' is not connected"
    expect(await said('SLUICE_KUBE_UNAVAILABLE', away)).toBe(`SLUICE_STREAM_NO_LINK ${away}`)
    expect(await said('SLUICE_KUBE_REFUSED', 'no container x')).toBe('SLUICE_POD_CONTAINER no container x')
    expect(await said('SLUICE_KUBE_NOT_FOUND', 'gone')).toBe('SLUICE_POD_NOT_FOUND gone')
  })

  it('a pod that is another than the one meant above is not touched, and what is no question is refused', async () => {
    const api = new ApiBelow()
    const elsewhere = ask(api, 'exec', EXEC, false)
    await expect(elsewhere.above.opened).rejects.toMatchObject({ code: 'SLUICE_POD_NOT_FOUND' })
    await expect(ask(api, 'exec', { ...POD }).above.opened).rejects.toMatchObject({ code: 'SLUICE_STREAM_BAD_MESSAGE' })
    expect(api.asked).toEqual([])
    expect(await ask(api, 'stats', {}).above.outcome).toEqual({ used: 1 })
    expect(streamsBelow({ client: api.client, has: () => true, stats: async () => null })('toString')).toBeUndefined()
  })
})

describe('the end of a command', () => {
  it('is its exit code, or why it never ran', () => {
    expect(commandEnd('{"metadata":{},"status":"Success"}')).toEqual({ exitCode: 0 })
    const failed = (status: string) => {
      try {
        return JSON.stringify(commandEnd(status))
      } catch (thrown) {
        return thrown instanceof SluiceError && thrown.code === 'SLUICE_UPLINK_STREAM' ? thrown.message : String(thrown)
      }
    }
    expect(failed('{"status":"Failure","message":"no such program"}')).toBe('no such program')
    for (const odd of ['', 'null', '[]', '{', '{"status":5,"details":{"causes":[null,7]}}']) {
      expect(failed(odd)).toContain('did not say how')
    }
  })
})
