import { afterEach, expect, it, vi } from 'vitest'
import { explainBinding } from '../../mappers/modbus/explain.ts'

afterEach(() => {
  vi.unstubAllGlobals()
  vi.resetModules()
})

async function wordsIn(language: string) {
  vi.stubGlobal('localStorage', { getItem: () => null })
  vi.stubGlobal('navigator', { language })
  vi.stubGlobal('document', { documentElement: {} })
  return import('../../console/src/words.ts')
}

it('says in German what the planner says, every sentence of it', async () => {
  await wordsIn('de-DE')
  const { inGerman } = await import('../../console/src/plan-words.ts')
  const properties = [0, 2, 8, 300, 301].map((input) => ({
    ...({ name: `p${input}`, type: 'int', access: 'read', modbus: { input } } as const),
    ...(input === 8 ? { poll: { every: '7s' } } : {}),
  }))
  const spec = { properties }
  for (const modbus of [
    { rtu: { port: '/dev/ttyS0', baud: 9600 }, unit: 3 },
    { tcp: { host: '127.0.0.1', port: 502 }, unit: 3 },
  ]) {
    const device = { model: 'm', nodeName: 'gw', modbus }
    const plan = explainBinding({ key: 'n/d', device, model: spec, revision: '1' })
    const said = [plan.link, ...plan.notes, ...plan.requests.flatMap(({ request, why }) => [request, why])]
    for (const each of said) expect(inGerman(each)).not.toBe(each)
    for (const each of said) expect(inGerman(each)).not.toMatch(/\b(the|a|request|registers|read)\b/)
  }
})

it('counts one and many, in both languages', async () => {
  const english = await wordsIn('en-GB')
  expect([0, 1, 2].map((n) => english.count('pods', n))).toEqual(['0 pods', '1 pod', '2 pods'])
  expect(english.count('nodes', 1)).toBe('1 node')
  expect([1_000, 100].map(english.cores)).toEqual(['1\u202fcore', '0.1\u202fcores'])
  vi.resetModules()
  const german = await wordsIn('de-DE')
  expect([0, 1, 2].map((n) => german.count('devices', n))).toEqual(['0 Geräte', '1 Gerät', '2 Geräte'])
  expect([1_000, 2_500].map(german.ofCores)).toEqual(['1\u202fKern', '2,5\u202fKernen'])
})
