import { type Mosquitto, mosquittoPath, startMosquitto } from '../agent/broker/test-brokers.test-helper.ts'
import { flood } from './far-side/mqtt-load.ts'
import { startFarSide } from './far-side/process.ts'
import { type BenchOptions, type Figure, percentile } from './harness.ts'

const bench = 'broker'

/**
 * The agent's broker beside Debian's mosquitto, each in a process of its own, the same raw clients on loopback: one
 * subscriber to everything, one or fifty publishers flooding QoS 0 with 100 bytes. Rounds alternate; medians count.
 */
export async function run({ quick }: BenchOptions): Promise<readonly Figure[]> {
  const rounds = quick ? 3 : 7
  const durationMs = quick ? 1000 : 3000
  await using ours = await startFarSide(new URL('./far-side/mqtt-broker.ts', import.meta.url))
  await using peer: Mosquitto | undefined = mosquittoPath === undefined ? undefined : await startMosquitto()
  const ports = { ours: Number(ours.ready['port']), ...(peer === undefined ? {} : { mosquitto: peer.port }) }
  const figures: Figure[] = []
  for (const publishers of [1, 50]) {
    const rates: Record<string, number[]> = {}
    for (const port of Object.values(ports)) await flood(port, publishers, 300)
    for (let round = 0; round < rounds; round++) {
      for (const [name, port] of Object.entries(ports)) {
        ;(rates[name] ??= []).push(await flood(port, publishers, durationMs))
      }
    }
    const what = `${publishers} publisher${publishers === 1 ? '' : 's'} flooding QoS 0, one subscriber`
    const value = percentile(rates['ours']!, 0.5)
    const theirs = rates['mosquitto']
    if (theirs === undefined) {
      const figure = `${what}; without its peer: mosquitto is not installed (Debian: apt-get install mosquitto)`
      figures.push({ bench, figure, value, unit: 'messages/s', ok: true })
    } else {
      const ratio = percentile(
        rates['ours']!.map((rate, round) => rate / theirs[round]!),
        0.5,
      )
      figures.push(
        { bench, figure: `${what}: mosquitto`, value: percentile(theirs, 0.5), unit: 'messages/s', ok: true },
        {
          bench,
          figure: what,
          value,
          unit: 'messages/s',
          peer: 'mosquitto',
          ratio,
          budget: '>= 0.5 of peer',
          ok: ratio >= 0.5,
        },
      )
    }
  }
  return figures
}
