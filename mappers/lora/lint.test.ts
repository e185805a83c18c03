import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { APP_KEY, binding, interval, temperature } from './bench.test-helper.ts'
import { compileDevice } from './device-config.ts'
import { explainBinding } from './explain.ts'
import { parseKeyFile } from './key-file.ts'
import { lintLora } from './lint.ts'
import { planNetworks } from './open-network.ts'

type Options = NonNullable<Parameters<typeof binding>[0]>

const codes = (options: Options): string[] => {
  const { model, device } = binding(options)
  return lintLora(model, [device]).map(({ code }) => code)
}

describe('lint', () => {
  it('has nothing against a sound model with a key file', () => {
    const options: Options = {
      lora: { appKey: undefined, keyFile: '/etc/sluice/keys' },
      spec: { poll: { every: '20m' } },
      properties: [temperature, { ...interval, write: { deadline: '1h' } }],
    }
    expect(codes(options)).toEqual([])
  })

  it.each<[string, Options]>([
    ['SLUICE_LINT_LORA_INLINE_KEY', {}],
    ['SLUICE_LINT_LORA_DUTY', { spec: { poll: { every: '10s' } } }],
    ['SLUICE_LINT_LORA_DEADLINE', { spec: { poll: { every: '20m' } } }],
    ['SLUICE_LINT_LORA_OPEN', { lora: { listen: { host: '0.0.0.0' } } }],
    ['SLUICE_LINT_LORA_COUNTER', { lora: { counterResets: true } }],
    ['SLUICE_LINT_LORA_DECODER', { properties: [{ name: 'a', type: 'float', lora: { field: 'a' } }] }],
    ['SLUICE_LINT_LORA_DECODER', { model: { decoder: 'var a = 1' } }],
    ['SLUICE_LINT_LORA_DOWNLINK', { properties: [{ name: 'a', type: 'int', access: 'readwrite', lora: { at: 0 } }] }],
    [
      'SLUICE_LINT_LORA_READ_BACK',
      {
        properties: [{ name: 'a', type: 'int', access: 'write', lora: { downlink: { as: 'uint8', readBack: true } } }],
      },
    ],
    ['SLUICE_LINT_TYPE', { properties: [{ name: 'a', type: 'array', lora: { at: 0 } }] }],
    ['SLUICE_LINT_SCALE_ON_INT', { properties: [{ name: 'a', type: 'int', lora: { at: 0, scale: 0.1 } }] }],
    ['SLUICE_LINT_ADDRESS', { properties: [{ name: 'a', type: 'int', lora: { at: -1, as: 'uint16' } }] }],
  ])('finds %s', (code, options) => {
    expect(codes(options)).toContain(code)
  })

  it('places what concerns a device in that device', () => {
    const { model, device } = binding()
    const other = { model: 'm', modbus: {} }
    const finding = lintLora(model, [other, device]).find(({ code }) => code === 'SLUICE_LINT_LORA_INLINE_KEY')
    expect(finding).toMatchObject({ path: ['devices', 1, 'lora', 'appKey'], severity: 'warning' })
    expect(JSON.stringify(finding)).not.toContain(APP_KEY)
  })
})

describe('the plan', () => {
  it('shows airtime near and far, the duty budget, and what a write waits for', () => {
    const plan = explainBinding(binding({ spec: { poll: { every: '10m' } } }))
    expect(plan.requests[0]).toMatchObject({
      request: 'uplink, 4 bytes at SF7/125 kHz',
      everyMs: 600_000,
      properties: ['temperature', 'interval'],
      busMs: 51.5,
    })
    expect(plan.requests[1]).toMatchObject({ request: 'uplink, 4 bytes at SF12/125 kHz', busMs: 1318.9 })
    expect(plan.requests[2]).toMatchObject({
      request: expect.stringContaining('downlink, 3 bytes at SF12'),
      properties: ['interval'],
    })
    expect(plan.notes[0]).toContain('1 % of airtime, 36 s an hour')
    expect(plan.notes[1]).toContain('up to 10 min')
  })

  it('needs no key file to be there', () => {
    const lora = { appKey: undefined, keyFile: '/nowhere' }
    expect(explainBinding(binding({ lora })).requests.length).toBeGreaterThan(0)
  })
})

describe('devices', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lora-keys-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('take their keys from a file', async () => {
    const path = join(folder, 'abp')
    await writeFile(path, `# keys\ndevAddr: 26011BDA\nnwkSKey: ${APP_KEY}\nappSKey = ${APP_KEY}\n`)
    await chmod(path, 0o600)
    expect(compileDevice(binding({ lora: { appKey: undefined, keyFile: path } })).activation).toMatchObject({
      kind: 'abp',
      devAddr: 0x2601_1bda,
    })
    await writeFile(path, `${APP_KEY}\n`)
    expect(compileDevice(binding({ lora: { appKey: undefined, keyFile: path } })).activation.kind).toBe('otaa')
    expect(() => compileDevice(binding({ lora: { appKey: undefined, keyFile: folder } }))).toThrow('no regular file')
    expect(() => compileDevice(binding({ lora: { appKey: undefined, keyFile: join(folder, 'none') } }))).toThrow(
      'cannot read',
    )
  })

  it('are told which line of a key file is wrong, and nothing of what is in it', () => {
    expect(() => parseKeyFile(`appKey: ${APP_KEY}\nsecret stuff`, 'f')).toThrow('line 2 of f is no key')
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          parseKeyFile(text, 'f')
        } catch (error) {
          expect((error as Error).message).toMatch(/^line \d+ of f is no key$/)
        }
      }),
    )
  })

  it('are refused with a reason when a key is missing or the region is not that of the model', () => {
    expect(() => compileDevice(binding({ lora: { appKey: undefined } }))).toThrow('no complete set of keys')
    expect(() => compileDevice(binding({ lora: { region: 'US915' }, model: { region: 'EU868' } }))).toThrow(
      'made for EU868',
    )
  })

  it('that share a network must agree about it', () => {
    const a = compileDevice(binding({ key: 'ns/a' }))
    const twin = compileDevice(binding({ key: 'ns/b' }))
    const american = compileDevice(binding({ key: 'ns/c', lora: { devEui: '0000000000000002', region: 'US915' } }))
    const elsewhere = compileDevice(
      binding({ key: 'ns/d', lora: { devEui: '0000000000000003', listen: { udp: 1701 } } }),
    )
    const { networks, conflicts } = planNetworks([elsewhere, american, twin, a])
    expect(networks.get('local')?.devices.map(({ key }) => key)).toEqual(['ns/a'])
    expect(conflicts.get('ns/b')).toContain('that of ns/a')
    expect(conflicts.get('ns/c')).toContain('differ from those of ns/a')
    expect(conflicts.get('ns/d')).toContain('listen differs')
  })
})
