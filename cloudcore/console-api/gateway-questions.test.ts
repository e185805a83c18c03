import { describe, expect, it } from 'vitest'
import { answerQuestions, QUESTION_STREAM } from '../../api/console/questions.ts'
import { SluiceError } from '../../api/errors.ts'
import { loopbackStream } from '../../api/link/loopback-stream.ts'
import type { StreamEndpoint } from '../../api/link/stream-endpoint.ts'
import type { Json } from '../../api/resources.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import type { DialRequest } from '../streams/broker.ts'
import { GatewayQuestions } from './gateway-questions.ts'

/** Gateways that answer what `answer` says, over streams without a network. */
function setUp(answer: (gateway: string, path: string, body: Json | undefined) => Promise<Json>) {
  const clock = new VirtualClock()
  const dialled: DialRequest[] = []
  const ends: StreamEndpoint[] = []
  const dial = async (request: DialRequest): Promise<StreamEndpoint> => {
    dialled.push(request)
    const [near, far] = loopbackStream()
    request.signal.addEventListener('abort', () => near.fail(request.signal.reason))
    ends.push(far)
    const channels = { questions: far.channel(0), replies: far.channel(1) }
    answerQuestions(channels, (path, body) => answer(request.gateway, path, body)).catch((thrown: unknown) =>
      far.fail(thrown),
    )
    return near
  }
  return { clock, dialled, ends, questions: new GatewayQuestions({ clock, streams: { dial } }) }
}

describe('what gateways are asked from the cloud', () => {
  it('goes over one stream a gateway, and viewers who look at the same thing ask once', async () => {
    const asked: string[] = []
    const { clock, dialled, questions } = setUp(async (gateway, path) => {
      asked.push(`${gateway} ${path}`)
      return path
    })
    expect(await Promise.all([questions.ask('a', 'links'), questions.ask('a', 'links')])).toEqual(['links', 'links'])
    expect(await questions.ask('a', 'energy')).toBe('energy')
    expect(await questions.ask('b', 'links')).toBe('links')
    expect(asked).toEqual(['a links', 'a energy', 'b links'])
    expect(dialled.map(({ gateway, kind }) => `${gateway} ${kind}`)).toEqual([
      `a ${QUESTION_STREAM}`,
      `b ${QUESTION_STREAM}`,
    ])
    await clock.advance(1_000)
    await questions.ask('a', 'links')
    expect(asked).toHaveLength(4)
    questions[Symbol.dispose]()
  })

  it('never gives one the answer to what another one sent along', async () => {
    const { questions } = setUp(async (_gateway, _path, body) => body ?? null)
    expect(await Promise.all([questions.ask('a', 'trial', 1), questions.ask('a', 'trial', 2)])).toEqual([1, 2])
    questions[Symbol.dispose]()
  })

  it('lets the stream go when nobody asks any more, and opens another one when somebody does', async () => {
    const { clock, dialled, ends, questions } = setUp(async () => 1)
    await questions.ask('a', 'links')
    await clock.advance(30_000)
    await expect(ends[0]!.outcome).rejects.toMatchObject({ code: 'SLUICE_STREAM_CANCELLED' })
    expect(await questions.ask('a', 'links')).toBe(1)
    expect(dialled).toHaveLength(2)
    questions[Symbol.dispose]()
  })

  it('fails in words: what the gateway refuses, a stream that breaks, a gateway that does not answer', async () => {
    let answer: () => Promise<Json> = () => Promise.reject(new SluiceError('SLUICE_API_NOT_FOUND', 'no such thing'))
    const { clock, ends, questions } = setUp(() => answer())
    await expect(questions.ask('a', 'x')).rejects.toMatchObject({ code: 'SLUICE_API_NOT_FOUND' })
    answer = () => new Promise(() => {})
    const cut = questions.ask('a', 'y')
    await new Promise((resolve) => setImmediate(resolve))
    ends[0]!.fail(new SluiceError('SLUICE_STREAM_CLOSING', 'the agent of the gateway stops'))
    await expect(cut).rejects.toMatchObject({ code: 'SLUICE_STREAM_CLOSING' })
    const silent = questions.ask('a', 'z')
    const ended = expect(silent).rejects.toMatchObject({ code: 'SLUICE_STREAM_TIMEOUT' })
    await new Promise((resolve) => setImmediate(resolve))
    await clock.advance(20_000)
    await ended
    questions[Symbol.dispose]()
  })
})
