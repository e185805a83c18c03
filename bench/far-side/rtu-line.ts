import { RtuUnits } from '../../hil/modbus-unit.ts'
import { PacedWire } from '../../hil/paced-wire.ts'
import { openPtyPair } from '../../hil/pty.ts'
import { preciseClock } from '../../mappers/modbus/precise-clock.ts'

// A line paced at the baud rate given, with one unit that answers t3.5 after the request's last byte: the quickest
// a conforming one can be.
const baud = Number(process.argv[2])
const t35Ms = baud > 19_200 ? 1.75 : 38_500 / baud
const units = new RtuUnits([1])
const pty = openPtyPair()
const wire = new PacedWire({ baud }, 2, preciseClock, (to, bytes) => {
  if (to === 0) pty.write(bytes)
  else for (const answer of units.push(bytes)) preciseClock.after(t35Ms, () => wire.transmit(1, answer))
})
pty.onData((chunk) => wire.transmit(0, chunk))
process.send?.({ path: pty.path })
process.once('disconnect', () => process.exit(0))
