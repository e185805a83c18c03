import { RtuUnits } from '../../hil/modbus-unit.ts'
import { PacedWire } from '../../hil/paced-wire.ts'
import { openPtyPair } from '../../hil/pty.ts'
import { preciseClock } from '../../mappers/modbus/precise-clock.ts'

// A line paced at the baud rate given, with units 1 to n that answer t3.5 after the request's last byte.
// One of them falls silent for good after a while, or never (Infinity).
const baud = Number(process.argv[2])
const count = Number(process.argv[3])
const deadUnit = Number(process.argv[4])
const diesAfterMs = Number(process.argv[5])
const t35Ms = baud > 19_200 ? 1.75 : 38_500 / baud
const units = new RtuUnits(Array.from({ length: count }, (_, index) => index + 1))
const silent = new Set<number>()
const pty = openPtyPair()
const wire = new PacedWire({ baud }, 2, preciseClock, (to, bytes) => {
  if (to === 0) {
    pty.write(bytes)
    return
  }
  for (const answer of units.push(bytes)) {
    if (!silent.has(answer[0]!)) preciseClock.after(t35Ms, () => wire.transmit(1, answer))
  }
})
pty.onData((chunk) => wire.transmit(0, chunk))
if (Number.isFinite(diesAfterMs)) setTimeout(() => silent.add(deadUnit), diesAfterMs)
process.send?.({ path: pty.path })
process.once('disconnect', () => process.exit(0))
