import { systemClock } from '../../api/clock.ts'
import { virtualRadio } from './virtual-radio.ts'

/**
 * A virtual radio in a process of its own: `fork(this, [macs, beacons, intervalMs, repeatedBy])` with addresses separated
 * by commas and the number of advertisers. Says `{paths}` in the order of the addresses when it is ready, ends with its parent.
 */
const [macs = '', beacons = '0', interval = '1000', repeatedBy] = process.argv.slice(2)
const radio = virtualRadio(systemClock, Math.random)
const paths = macs
  .split(',')
  .map((mac) => radio.add({ mac, buffers: 64, repeatedBy: repeatedBy === 'data' ? 'data' : 'address' }).path)

/** BTHome v2: packet number, battery, temperature, humidity, all of them moving. */
function bthome(count: number): Uint8Array {
  const data = Buffer.from('0201060e16d2fc40000001610200000300 00'.replaceAll(' ', ''), 'hex')
  data[9] = count & 0xff
  data.writeInt16LE(2000 + (count % 500), 13)
  data.writeUInt16LE(4000 + (count % 900), 16)
  return data.subarray(0, 18)
}

for (let i = 0; i < Number(beacons); i++) {
  const mac = `A4:C1:38:00:${hex(i >> 8)}:${hex(i & 0xff)}`
  radio.air.beacon({ mac, intervalMs: Number(interval), data: bthome })
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0').toUpperCase()
}

process.on('disconnect', () => process.exit(0))
process.send?.({ paths })
