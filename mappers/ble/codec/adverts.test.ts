import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseAdvertised } from './ad.ts'
import { encodeAdvertised } from './ad-encode.ts'
import type { DecodeContext } from './fields.ts'
import { ADVERT_FORMATS, type AdvertFormatName, FORMATS } from './formats.ts'
import { isAdvertisingReport, readReports } from './hci-reports.ts'
import { shortUuid } from './uuid.ts'

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(/[ :]/g, ''), 'hex'))
const nobody: DecodeContext = { mac: hex('000000000000') }

const service = (uuid: string, data: string) =>
  encodeAdvertised({ manufacturer: [], serviceData: [{ uuid, data: hex(data) }], serviceUuids: [] })
const company = (data: string) => encodeAdvertised({ manufacturer: [hex(data)], serviceData: [], serviceUuids: [] })

function decode(format: AdvertFormatName, bytes: Uint8Array, context = nobody) {
  const decoded = FORMATS[format].decode(parseAdvertised(bytes), context)
  if (decoded === undefined) return undefined
  return decoded.ok ? { ...Object.fromEntries(decoded.fields), counter: decoded.counter } : decoded.refusal.code
}

describe('BTHome v2', () => {
  const encrypted = service('fcd2', '41 e445f3c9962b 33221100 6c7c4519')
  const mac = hex('5448E68F80A5')
  const key = hex('231d39c1d7cc1ab1aee224cd096db932')

  it('decodes the example of the format page', () => {
    expect(decode('bthome', hex('020106 0B094449592D73656E736F72 0A16D2FC4002C40903BF13'))).toEqual({
      temperature: 25,
      humidity: 50.55,
    })
  })

  it.each([
    ['0161', { battery: 97 }],
    ['12E204', { co2: 1250 }],
    ['3E2A2C0960', { count: 1611213866 }],
    ['434E34', { current: 13.39 }],
    ['08CA06', { dewPoint: 17.38 }],
    ['424E3400', { duration: 13.39 }],
    ['4D12138A14', { energy: 344593.17 }],
    ['05138A14', { illuminance: 13460.67 }],
    ['04138A01', { pressure: 1008.83 }],
    ['2101', { motion: true }],
    ['3A04', { button: 'longPress' }],
    ['3C0203', { dimmer: 'rotateRight', dimmerSteps: 3 }],
    ['530548656C6C6F', { text: 'Hello' }],
    ['02CA09 02FEFF', { temperature: 25.06, temperature2: -0.02 }],
  ])('decodes %s', (data, fields) => {
    expect(decode('bthome', service('fcd2', `40 ${data}`))).toEqual(fields)
  })

  it('opens the encrypted example of the encryption page', () => {
    expect(decode('bthome', encrypted, { mac, key })).toEqual({
      temperature: 25.06,
      humidity: 50.55,
      counter: 0x112233,
    })
  })

  it('says that a key is missing or wrong', () => {
    expect(decode('bthome', encrypted, { mac })).toBe('no-key')
    expect(decode('bthome', encrypted, { mac, key: hex('00'.repeat(16)) })).toBe('mic')
    expect(decode('bthome', encrypted, { mac: hex('5448E68F80A6'), key })).toBe('mic')
  })

  it('keeps what comes before an object it does not know', () => {
    expect(decode('bthome', service('fcd2', '40 0161 EE0102'))).toEqual({ battery: 97 })
    expect(decode('bthome', service('fcd2', '40 EE0102'))).toBe('malformed')
    expect(decode('bthome', service('fcd2', '20 0161'))).toBe('malformed')
  })
})

describe('Xiaomi MiBeacon', () => {
  it('decodes a frame without encryption', () => {
    const data = '5020 aa01 da 2193542d584c 0d10 04 fe004802'
    expect(decode('miBeacon', service('fe95', data))).toEqual({ temperature: 25.4, humidity: 58.4 })
  })

  it('opens a version 5 frame', () => {
    const changed = service('fe95', '5858e4162c84535638c1a42b6ef2e91200006c884d9f')
    const whole = service('fe95', '5858e4162c84535638c1a42b6ef2e91200006c884d9e')
    const key = hex('a115210eed7a88e50ad52662e732a9fb')
    const mac = hex('A4C138565384')
    expect(decode('miBeacon', whole, { mac, key })).toMatchObject({ humidity: 58 })
    expect(decode('miBeacon', whole, { mac })).toBe('no-key')
    expect(decode('miBeacon', changed, { mac, key })).toBe('mic')
  })
})

describe('RuuviTag RAWv2', () => {
  it('decodes the published vectors', () => {
    expect(decode('ruuvi', company('9904 0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F'))).toEqual({
      temperature: 24.3,
      humidity: 53.49,
      pressure: 100044,
      accelerationX: 0.004,
      accelerationY: -0.004,
      accelerationZ: 1.036,
      voltage: 2.977,
      txPower: 4,
      movements: 66,
      sequence: 205,
    })
    expect(decode('ruuvi', company('9904 057FFFFFFEFFFE7FFF7FFF7FFFFFDEFEFFFECBB8334C884F'))).toMatchObject({
      temperature: 163.835,
      humidity: 163.835,
      pressure: 115534,
      voltage: 3.646,
      txPower: 20,
    })
    expect(decode('ruuvi', company('9904 058001000000008001800180010000000000CBB8334C884F'))).toMatchObject({
      temperature: -163.835,
      pressure: 50000,
      accelerationX: -32.767,
      voltage: 1.6,
      txPower: -40,
    })
  })

  it('leaves out what the tag marks as not available', () => {
    expect(decode('ruuvi', company('9904 058000FFFFFFFF800080008000FFFFFFFFFFFFFFFFFFFFFF'))).toEqual({})
  })
})

describe('beacons', () => {
  it('decodes Eddystone UID, URL and TLM', () => {
    expect(decode('eddystone', service('feaa', '00 ee 00112233445566778899 aabbccddeeff 0000'))).toMatchObject({
      frame: 'uid',
      txPower: -18,
      namespace: '00112233445566778899',
      instance: 'aabbccddeeff',
    })
    expect(decode('eddystone', service('feaa', '10 00 03 676f6f676c65 07'))).toMatchObject({
      url: 'https://google.com',
    })
    expect(decode('eddystone', service('feaa', '20 00 0bb8 1980 00000064 000003e8'))).toEqual({
      frame: 'tlm',
      voltage: 3,
      temperature: 25.5,
      adverts: 100,
      uptime: 100,
    })
  })

  it('decodes iBeacon', () => {
    const data = '4c00 0215 e2c56db5dffb48d2b060d0f5a71096e0 0001 0203 c5'
    expect(decode('ibeacon', company(data))).toMatchObject({
      uuid: 'e2c56db5-dffb-48d2-b060-d0f5a71096e0',
      major: 1,
      minor: 515,
      txPower: -59,
    })
  })

  it('decodes Govee thermometers of both layouts, also below zero', () => {
    expect(decode('govee', company('88ec 00 dd07 9c1a 64 02'))).toEqual({
      temperature: 20.13,
      humidity: 68.12,
      battery: 100,
    })
    expect(decode('govee', company('88ec 00 0341c2 64 00'))).toEqual({
      temperature: 21.3,
      humidity: 44.2,
      battery: 100,
    })
    expect(decode('govee', company('88ec 00 80c8f4 64 00'))).toMatchObject({ temperature: -5.1, humidity: 44.4 })
    expect(decode('govee', company('0100 0101 0341c2 64'))).toMatchObject({ temperature: 21.3 })
  })

  it('takes no value of a Govee thermometer that says its sensor has failed', () => {
    expect(decode('govee', company('0100 0101 03c730 64'))).toMatchObject({ temperature: 24.7, battery: 100 })
    expect(decode('govee', company('0100 0101 03c730 e4'))).toBe('malformed')
    expect(decode('govee', company('88ec 00 0341c2 e4 00'))).toBe('malformed')
  })
})

describe('whatever comes from the air', () => {
  it('never makes a decoder throw', () => {
    const noise = fc.uint8Array({ maxLength: 300 })
    const key = hex('231d39c1d7cc1ab1aee224cd096db932')
    fc.assert(
      fc.property(noise, (bytes) => {
        const advertised = parseAdvertised(bytes)
        for (const format of ADVERT_FORMATS) FORMATS[format].decode(advertised, { ...nobody, key })
      }),
    )
  })

  it('never makes a decoder throw behind the marks of a format', () => {
    const key = hex('231d39c1d7cc1ab1aee224cd096db932')
    const marks = fc.constantFrom('fcd2', 'fe95', 'feaa')
    const companies = fc.constantFrom('9904', '4c00', '88ec', '0100')
    fc.assert(
      fc.property(marks, companies, fc.uint8Array({ maxLength: 60 }), (uuid, id, data) => {
        const manufacturer = [Uint8Array.from([...hex(id), ...data])]
        const advertised = { manufacturer, serviceData: [{ uuid, data }], serviceUuids: [] }
        for (const format of ADVERT_FORMATS) {
          const decoded = FORMATS[format].decode(advertised, { ...nobody, key })
          if (decoded?.ok !== true) continue
          for (const value of decoded.fields.values()) expect(value).not.toBeNaN()
        }
      }),
    )
  })

  it('reads back the structures that were written', () => {
    const uuid = fc.oneof(
      fc.constantFrom('fcd2', '181a', 'feaa'),
      fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => shortUuid(Buffer.from(bytes).toString('hex'))),
    )
    const data = fc.uint8Array({ maxLength: 40 })
    const advertised = fc.record({
      manufacturer: fc.array(fc.uint8Array({ minLength: 2, maxLength: 40 }), { maxLength: 3 }),
      serviceData: fc.array(fc.record({ uuid, data }), { maxLength: 3 }),
      serviceUuids: fc.array(uuid, { maxLength: 3 }),
      name: fc.string({ maxLength: 20, unit: 'grapheme-ascii' }),
      txPowerDbm: fc.integer({ min: -128, max: 127 }),
    })
    fc.assert(
      fc.property(advertised, (one) => {
        const plain = (value: unknown) => JSON.stringify(value)
        // A plain array of bytes, since a Buffer prints in another way.
        expect(plain(parseAdvertised(Uint8Array.from(encodeAdvertised(one))))).toBe(plain(one))
      }),
    )
  })

  it('reads advertising reports of any shape without throwing, and only what is whole', () => {
    const packet = fc
      .tuple(fc.constantFrom(2, 13), fc.uint8Array({ maxLength: 120 }))
      .map(([kind, rest]) => Uint8Array.of(4, 0x3e, rest.length, kind, ...rest))
    fc.assert(
      fc.property(packet, (bytes) => {
        expect(isAdvertisingReport(bytes)).toBe(true)
        readReports(bytes, ({ data, mac }) => {
          expect(data.length).toBeLessThan(bytes.length)
          expect(mac).toMatch(/^([0-9A-F]{2}:){5}[0-9A-F]{2}$/)
        })
      }),
    )
  })

  it('reads two reports of one packet, legacy and extended', () => {
    const heard: [string, boolean, number | undefined, string][] = []
    const take = (bytes: string) =>
      readReports(hex(bytes), ({ mac, connectable, rssiDbm, data }) =>
        heard.push([mac, connectable, rssiDbm, Buffer.from(data).toString('hex')]),
      )
    take('043e1902 02 00 00 0605040302 01 02 0a01 c4 03 01 665544332211 00 7f')
    take('043e1c0d 01 1300 01 665544332211 01 00 ff 7f ba 0000 00 000000000000 03 020106')
    expect(heard).toEqual([
      ['01:02:03:04:05:06', true, -60, '0a01'],
      ['11:22:33:44:55:66', false, undefined, ''],
      ['11:22:33:44:55:66', true, -70, '020106'],
    ])
  })
})
