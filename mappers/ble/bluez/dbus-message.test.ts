import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { KIND, messageBytes, readMessage, writeMessage } from './dbus-message.ts'
import { DbusMalformed, type DbusValue, typesOf, Variant } from './dbus-values.ts'

const text = fc.string({ unit: 'grapheme', maxLength: 300 }).filter((one) => !one.includes('\0'))

/** A complete type with a value of it. */
const typed = fc.letrec<{ one: [string, DbusValue] }>((tie) => ({
  one: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    fc.nat(255).map((value): [string, DbusValue] => ['y', value]),
    fc.boolean().map((value): [string, DbusValue] => ['b', value]),
    fc.integer({ min: -0x8000, max: 0x7fff }).map((value): [string, DbusValue] => ['n', value]),
    fc.nat(0xffffffff).map((value): [string, DbusValue] => ['u', value]),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value): [string, DbusValue] => ['x', value]),
    fc.double({ noNaN: true }).map((value): [string, DbusValue] => ['d', value]),
    text.map((value): [string, DbusValue] => ['s', value]),
    fc.uint8Array({ maxLength: 300 }).map((value): [string, DbusValue] => ['ay', value]),
    fc.array(text, { maxLength: 5 }).map((value): [string, DbusValue] => ['as', value]),
    tie('one').map(([type, value]): [string, DbusValue] => ['v', new Variant(type, value)]),
    fc
      .array(tie('one'), { minLength: 1, maxLength: 3 })
      .map((some): [string, DbusValue] => [`(${some.map(([type]) => type).join('')})`, some.map(([, value]) => value)]),
    fc
      .array(fc.tuple(text, tie('one')), { maxLength: 4 })
      .map((some): [string, DbusValue] => [
        'a{sv}',
        new Map(some.map(([key, [type, value]]) => [key, new Variant(type, value)])),
      ]),
  ),
}))

describe('messages of D-Bus', () => {
  it('come back as they were written, whatever they hold', () => {
    fc.assert(
      fc.property(fc.array(typed.one, { maxLength: 4 }), text, (some, path) => {
        const message = {
          kind: KIND.call,
          serial: 7,
          path: `/${path}`,
          interface: 'a.b',
          member: 'C',
          destination: 'd.e',
          body: some.map(([, value]) => value),
        }
        const signature = some.map(([type]) => type).join('')
        const bytes = writeMessage({ ...message, signature })
        expect(messageBytes(bytes, 0)).toBe(bytes.length)
        expect(readMessage(bytes)).toEqual(signature === '' ? message : { ...message, signature })
      }),
    )
  })

  it('that are damaged are called so, and nothing is read behind their end', () => {
    const whole = writeMessage({
      kind: KIND.signal,
      serial: 1,
      path: '/org/bluez/hci0/dev_A4_C1_38_00_00_01',
      interface: 'org.freedesktop.DBus.Properties',
      member: 'PropertiesChanged',
      signature: 'sa{sv}as',
      body: ['org.bluez.Device1', new Map([['RSSI', new Variant('n', -60)]]), []],
    })
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(damage, fc.nat(whole.length), (some, length) => {
        const bytes = Buffer.from(whole)
        for (const [at, byte] of some) bytes[at] = byte
        const read = () => readMessage(bytes.subarray(0, Math.max(16, length)))
        try {
          read()
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(DbusMalformed)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('are not waited for when they claim to be larger than anything BlueZ says', () => {
    const bytes = Buffer.from([0x6c, 2, 0, 1, 0xff, 0xff, 0xff, 0x7f, 1, 0, 0, 0, 0, 0, 0, 0])
    expect(() => messageBytes(bytes, 0)).toThrow(DbusMalformed)
  })

  it('have signatures that are complete or refused, however deep', () => {
    expect(typesOf('a{sv}(ii)ay')).toEqual(['a{sv}', '(ii)', 'ay'])
    for (const wrong of ['a', '(', '()', 'a{s}', 'z', 'a'.repeat(100), `${'('.repeat(100)}y${')'.repeat(100)}`]) {
      expect(() => typesOf(wrong)).toThrow(DbusMalformed)
    }
  })
})
