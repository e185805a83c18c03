import { silentLog } from '../../agent/log.ts'
import { Store } from '../../agent/store/store.ts'
import { systemClock } from '../../api/clock.ts'

/**
 * Fills an agent's outbox as an outage leaves it: `rate` values a second for `seconds`, in the batches the agent makes
 * while nobody listens (one every 200 ms).
 */
export function fillOutbox(directory: string, seconds: number, rate: number): { values: number; batches: number } {
  const perBatch = Math.max(1, Math.round(rate / 5))
  const batches = Math.round((seconds * rate) / perBatch)
  const startMs = Date.now() - seconds * 1000
  using store = new Store({ directory, clock: systemClock, log: silentLog })
  const devices: [string, string][] = [['plant/device-0', 'uid-0']]
  for (let done = 0; done < batches; ) {
    const chunk = Array.from({ length: Math.min(500, batches - done) }, (_, i) => {
      const atMs = startMs + (done + i) * 200
      const r = Array.from({ length: perBatch }, (_, n) => [0, `p${n}`, (done + i + n) / 16, atMs])
      return { body: JSON.stringify({ d: devices, r }), values: perBatch, atMs }
    })
    store.append(chunk)
    done += chunk.length
  }
  return { values: batches * perBatch, batches }
}
