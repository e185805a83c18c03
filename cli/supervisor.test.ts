import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../api/virtual-clock.ts'
import { childError, Supervised } from './supervisor.ts'

const READY = `console.log(JSON.stringify({ event: 'ready', pid: process.pid }));`
const STAY = `process.stdin.on('end', () => process.exit(0)).resume();`

function supervise(script: string, input?: string) {
  const clock = new VirtualClock()
  const waiting: { resolve: (line: string) => void; wanted: string }[] = []
  const restarts: { inMs: number; why: string }[] = []
  const child = new Supervised({
    name: 'part',
    launch: () => ({ command: process.execPath, env: {}, args: ['-e', script] }),
    env: process.env,
    clock,
    random: () => 0.5,
    ...(input === undefined ? {} : { input }),
    onLine: (line) => {
      for (const each of waiting) if (line.includes(each.wanted)) each.resolve(line)
    },
    onRestart: (inMs, why) => {
      restarts.push({ inMs, why })
      for (const each of waiting) if (each.wanted === 'restart') each.resolve('restart')
    },
    onReady: () => {
      for (const each of waiting) if (each.wanted === 'ready') each.resolve('ready')
    },
  })
  const until = (wanted: string) => new Promise<string>((resolve) => waiting.push({ resolve, wanted }))
  return { child, clock, restarts, until }
}

const signal = new AbortController().signal

describe('Supervised', () => {
  it('resolves with what the child says when it is ready, and stops it', async () => {
    const { child, restarts } = supervise(READY + STAY)
    const ready = await child.start(signal)
    expect(ready).toMatchObject({ event: 'ready', pid: child.pid })
    await child.stop()
    expect(restarts).toEqual([])
  })

  it('starts a crashed child again, with growing pauses', async () => {
    const { child, clock, restarts, until } = supervise(`${READY} setImmediate(() => process.exit(3));`)
    const first = until('restart')
    await child.start(signal)
    await first
    const second = until('restart')
    clock.advance(500)
    await second
    expect(restarts).toEqual([
      { inMs: 500, why: 'ended with exit code 3' },
      { inMs: 1000, why: 'ended with exit code 3' },
    ])
    await child.stop()
  })

  it('does not repeat a start that never worked, and passes on the typed error', async () => {
    const error = JSON.stringify({ error: { code: 'SLUICE_API_IN_USE', message: 'port 1 is taken', hint: 'Free it.' } })
    const { child, restarts } = supervise(`console.error(${JSON.stringify(error)}); process.exit(1)`)
    await expect(child.start(signal)).rejects.toMatchObject({ code: 'SLUICE_API_IN_USE', hint: 'Free it.' })
    expect(restarts).toEqual([])
  })

  it('gives its input to the child without putting it on the command line', async () => {
    const script = `process.stdin.once('data', (d) => { ${READY} console.log('got ' + d) }).on('end', () => process.exit(0));`
    const { child, until } = supervise(script, 'secret\n')
    const heard = until('got')
    await child.start(signal)
    expect(await heard).toBe('got secret')
    await child.stop()
  })
})

describe('childError', () => {
  it('reads an error from plain words too', () => {
    expect(
      childError('agent', 'ended', ['error SLUICE_STORE_CORRUPT: the file is broken', '  hint: Restore it.']),
    ).toMatchObject({
      code: 'SLUICE_STORE_CORRUPT',
      message: 'the file is broken',
      hint: 'Restore it.',
    })
  })

  it('falls back to the last words', () => {
    expect(childError('agent', 'ended with exit code 1', ['Segmentation fault', '']).message).toBe(
      'The agent ended with exit code 1; its last words: Segmentation fault',
    )
  })
})
