import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { isSecretField, withoutSecrets } from './secrets.ts'

const KEY = '2B7E151628AED2A6ABF7158809CF4F3C'

it.each([
  `lora: {appKey: ${KEY}, server: local}`,
  `  bindKey: "${KEY}"`,
  `  appKey: ${KEY.slice(0, 20)}`,
  `- ${KEY}`,
  `nwkSKey: 2B 7E 15 16 28 AE D2 A6 AB F7 15 88 09 CF 4F 3C`,
  `{"appKey":"2B-7E-15-16-28-AE-D2-A6-AB-F7-15-88-09-CF-4F-3C"}`,
  'password: hunter2-2B7E15',
])('masks the secret in %j and keeps the length', (line) => {
  const masked = withoutSecrets(line)
  expect(masked).toHaveLength(line.length)
  expect(masked).not.toMatch(/2B[ -]?7E|hunter/)
})

it('leaves alone what is no secret', () => {
  const line =
    '- { name: keyCount, lora: { devEui: 70B3D57ED0001234, keyFile: /etc/sluice/keys }, modbus: { holding: 0x0010 } }'
  expect(withoutSecrets(line)).toBe(line)
  expect(['keyFile', 'key', 'devEui', 0, undefined].map(isSecretField)).toEqual([false, false, false, false, false])
  expect(['appKey', 'bindKey', 'nwkSKey', 'password', 'token'].every(isSecretField)).toBe(true)
})

it('never changes the length of a line, so that marks below it stay where they belong', () => {
  fc.assert(fc.property(fc.string({ maxLength: 200 }), (line) => withoutSecrets(line).length === line.length))
})
