import { systemClock } from '../../api/clock.ts'
import { silentLog } from '../log.ts'
import { Store } from '../store/store.ts'

// A process for tests to kill: appends numbered batches as fast as it can and says each number once it is committed.
const store = new Store({ directory: process.argv[2]!, clock: systemClock, log: silentLog })
for (let round = 0; ; round++) {
  store.append([{ body: JSON.stringify({ d: [], round }), values: 1, atMs: Date.now() }])
  process.stdout.write(`${store.lastSeq}\n`)
  if (round % 50 === 49) await new Promise((resolve) => setImmediate(resolve))
}
