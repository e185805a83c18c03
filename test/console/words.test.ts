import { afterEach, expect, it, vi } from 'vitest'

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
