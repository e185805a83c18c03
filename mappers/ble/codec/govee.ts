import { type Decoded, fields, malformed, tidy } from './fields.ts'

/** Govee thermometers: company 0xEC88 (H5051 to H5075) or 0x0001 (H5100 to H5177). */
export const GOVEE_COMPANY = 0xec88
export const GOVEE_COMPANY_LATER = 0x0001

/** In the byte of the battery, of the packed layout. */
const SENSOR_FAILED = 0x80

export const GOVEE_FIELDS: readonly string[] = ['temperature', 'humidity', 'battery']

/** Manufacturer data with the company identifier. Two layouts, told apart by length; H5051, H5052 and H5071 add two bytes. */
export function decodeGovee(manufacturer: Uint8Array): Decoded {
  const data = Buffer.from(manufacturer.buffer, manufacturer.byteOffset, manufacturer.length)
  const company = data.length < 2 ? -1 : data.readUInt16LE(0)
  if (company === GOVEE_COMPANY && (data.length === 9 || data.length === 11)) {
    return checked(data.readInt16LE(3) / 100, data.readUInt16LE(5) / 100, data[7]!)
  }
  if (company === GOVEE_COMPANY && data.length === 8) return packed(data, 3)
  if (company === GOVEE_COMPANY_LATER && data.length === 8 && data[2] === 1 && data[3] === 1) return packed(data, 4)
  return malformed(`no known Govee layout has ${data.length} bytes`)
}

/** Three bytes: the sign, then temperature * 10 000 with the humidity * 10 in the last three decimals. */
function packed(data: Buffer, at: number): Decoded {
  const battery = data[at + 3]!
  if ((battery & SENSOR_FAILED) !== 0) return malformed('the thermometer says that its sensor has failed')
  const raw = data.readUIntBE(at, 3)
  const size = raw & 0x7fffff
  const temperature = Math.trunc(size / 1000) / 10
  return checked((raw & 0x800000) === 0 ? temperature : -temperature, (size % 1000) / 10, battery)
}

function checked(temperature: number, humidity: number, battery: number): Decoded {
  if (temperature < -60 || temperature > 150 || humidity > 100 || (battery & 0x7f) > 100) {
    return malformed('the values are outside what such a thermometer can measure')
  }
  return fields([
    ['temperature', tidy(temperature)],
    ['humidity', tidy(humidity)],
    ['battery', battery & 0x7f],
  ])
}
