import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { INTENT_NAMES, POD_ANNOTATIONS } from './intents.ts'
import { readMeaning } from './parse.ts'
import { parseQuantity } from './quantity.ts'

const one = (name: string, value: string) => readMeaning({ [`fluidos-intent-${name}`]: value })
const intent = (name: string, value: string) => one(name, value).meaning.intents[0]
const problem = (annotations: Record<string, string>) => readMeaning(annotations).problems[0]

describe('intents', () => {
  it('reads FLUIDOS values as they are written, and says what is hard', () => {
    expect(intent('battery', '40')).toMatchObject({ minPercent: 40, hard: true })
    expect(intent('battery', 'prefer 2h')).toMatchObject({ minLeftMs: 7_200_000, hard: false })
    expect(intent('latency', '20')).toMatchObject({ maxMs: 20, hard: true })
    expect(intent('throughput', '5')).toMatchObject({ minBps: 5e6 })
    expect(intent('throughput', '250kbit/s')).toMatchObject({ minBps: 250_000 })
    expect(intent('bandwidth-against', '<= 20ms POINT')).toMatchObject({ compare: '<=', ms: 20, point: 'POINT' })
    expect(intent('bandwidth-against', '= 20ms POINT')).toMatchObject({ compare: '=' })
    expect(problem({ 'fluidos-intent-bandwidth-against': '== 20ms POINT' })?.code).toBe('SLUICE_INTENT_VALUE')
    expect(intent('cyber-deception', 'True')).toMatchObject({ anyOf: ['cyber-deception', 'cyber_deception'] })
    expect(intent('magi', 'v2')).toMatchObject({ anyOf: ['v2'] })
    expect(one('magi', 'false')).toEqual({ meaning: expect.objectContaining({ intents: [] }), problems: [] })
    expect(intent('robot-status', 'idle, Charging')).toMatchObject({ anyOf: ['idle', 'charging'] })
    expect(intent('energy', 'low')).toMatchObject({ hard: false })
    expect(intent('energy', '<= 15W')).toMatchObject({ maxWatts: 15, hard: true })
    expect(intent('carbon-aware', 'true')).toMatchObject({ hard: false })
    expect(intent('location', 'Hall-North')).toMatchObject({ anyOf: ['hall-north'], hard: true })
    expect(intent('memory', '512Mi')).toMatchObject({ minBytes: 512 * 2 ** 20 })
    expect(one('max-delay', '2').meaning.maxDelayMs).toBe(7_200_000)
    expect(one('mspl', 'whatever')).toEqual({ meaning: expect.objectContaining({ intents: [] }), problems: [] })
  })

  it('reads the block as YAML and as JSON', () => {
    const yaml =
      'require:\n  battery: 40%\n  location: [a, b]\nprefer: {energy: low}\npolicy: {battery: 2, cost: 1}\nonBreach: stay\nmaxDelay: 90m\n'
    const { meaning, problems } = readMeaning({ 'sluice.dev/intent': yaml })
    expect(problems).toEqual([])
    expect(meaning).toMatchObject({ weights: { battery: 2, cost: 1 }, onBreach: 'stay', maxDelayMs: 5_400_000 })
    expect(meaning.intents.map(({ name, hard }) => [name, hard])).toEqual([
      ['battery', true],
      ['location', true],
      ['energy', false],
    ])
    const json = JSON.stringify({ require: { battery: 40 } })
    expect(readMeaning({ 'sluice.dev/intent': json }).meaning.intents[0]).toMatchObject({ minPercent: 40 })
  })

  it('takes none of our own annotations for a typo of another, and no stranger for one of ours', () => {
    for (const name of POD_ANNOTATIONS) {
      const value = {
        'sluice.dev/on-silence': 'move',
        'sluice.dev/hand-back': 'never',
        'sluice.dev/importance': 'critical',
      }
      const given = Object.entries(value).find(([key]) => key === name)?.[1] ?? 'x'
      if (name !== 'sluice.dev/intent') expect([name, readMeaning({ [name]: given }).problems]).toEqual([name, []])
    }
    for (const name of ['sluice.dev/gateway', 'example.com/intent', 'near', 'sluice.dev/x']) {
      expect([name, readMeaning({ [name]: 'x' }).problems]).toEqual([name, []])
    }
    expect(problem({ 'sluice.dev/neer': 'meter' })).toMatchObject({ hint: "Did you mean 'sluice.dev/near'?" })
    expect(problem({ 'sluice.dev/on-silense': 'move' })).toMatchObject({
      hint: "Did you mean 'sluice.dev/on-silence'?",
    })
  })

  it('takes no misspelt prefix, and no word that an annotation of ours does not have, for nothing said', () => {
    const hints: Readonly<Record<string, string>> = {
      fluidos_intent_battery: "Did you mean 'fluidos-intent-battery'?",
      'fluidis-intent-battery': "Did you mean 'fluidos-intent-battery'?",
      'fluidos.eu/intent-battery': "Did you mean 'fluidos-intent-battery'?",
      'fluidos-intent-max-latency': "Did you mean 'fluidos-intent-latency'?",
      'Fluidos-Intent-Batery': "Did you mean 'Fluidos-Intent-battery'?",
    }
    for (const [name, hint] of Object.entries(hints))
      expect([name, problem({ [name]: '40' })]).toMatchObject([name, { code: 'SLUICE_INTENT_UNKNOWN', hint }])
    expect(readMeaning({ 'Fluidos-Intent-Battery': '40' }).meaning.intents).toMatchObject([{ minPercent: 40 }])
    expect(problem({ 'Fluidos-Intent-Battery': '40', 'fluidos-intent-battery': '50' })?.code).toBe(
      'SLUICE_INTENT_TWICE',
    )
    for (const name of ['fluentd.io/parser', 'flux-intent', 'node.fluidos.eu/x', 'example.com/fluidos-intent-battery'])
      expect([name, readMeaning({ [name]: 'x' }).problems]).toEqual([name, []])
    expect(problem({ 'sluice.dev/on-silence': 'mvoe' })).toMatchObject({
      code: 'SLUICE_INTENT_VALUE',
      hint: "Did you mean 'move'?",
    })
    expect(problem({ 'sluice.dev/hand-back': 'nevr' })).toMatchObject({ hint: "Did you mean 'never'?" })
    expect(problem({ 'sluice.dev/importance': 'urgent' })?.hint).toBe('There are deferrable, normal, critical.')
  })

  it('refuses what can be read and cannot be meant', () => {
    expect(problem({ 'fluidos-intent-latency': '0ms' })?.message).toContain('no way takes 0 ms')
    expect(problem({ 'fluidos-intent-memory': '512m' })).toMatchObject({ hint: 'Write for example: 512Mi.' })
    expect(problem({ 'sluice.dev/intent': 'require: {location: }' })?.message).toContain(
      'require.location: null is no value',
    )
    expect(problem({ 'sluice.dev/intent': 'require: {location: {a: b}}' })?.message).toContain('a map is no value')
    expect(problem({ 'sluice.dev/intent': 'require: {location: [a, [b]]}' })?.code).toBe('SLUICE_INTENT_BLOCK')
    expect(problem({ 'sluice.dev/intent': 'maxDelay: 3h', 'fluidos-intent-max-delay': '2' })?.code).toBe(
      'SLUICE_INTENT_TWICE',
    )
  })

  it('has one remedy for each of FLUIDOS names that lost or gained a letter', () => {
    for (const name of INTENT_NAMES) {
      for (const typo of [`${name}s`, name.slice(0, -1), `${name.slice(0, 1)}x${name.slice(1)}`]) {
        if (INTENT_NAMES.some((each) => each === typo)) continue
        const { problems } = readMeaning({ [`fluidos-intent-${typo}`]: 'true' })
        expect([typo, problems.map(({ code }) => code)]).toEqual([typo, ['SLUICE_INTENT_UNKNOWN']])
        expect(problems[0]?.hint).toBe(`Did you mean 'fluidos-intent-${name}'?`)
      }
    }
  })

  it('names the annotation and what was meant when there is a typo', () => {
    expect(problem({ 'fluidos-intent-batery': '40' })).toMatchObject({
      code: 'SLUICE_INTENT_UNKNOWN',
      hint: "Did you mean 'fluidos-intent-battery'?",
    })
    expect(problem({ 'fluidos-intents-battery': '40' })).toMatchObject({
      code: 'SLUICE_INTENT_UNKNOWN',
      hint: "Did you mean 'fluidos-intent-battery'?",
    })
    expect(problem({ 'sluice.dev/intents': '{}' })).toMatchObject({ hint: "Did you mean 'sluice.dev/intent'?" })
    expect(problem({ 'fluidos-intent-battery': 'full' })).toMatchObject({
      code: 'SLUICE_INTENT_VALUE',
      message: expect.stringContaining('fluidos-intent-battery'),
    })
    expect(problem({ 'fluidos-intent-battery': '140' })?.message).toContain('more than a battery has')
    expect(problem({ 'sluice.dev/intent': 'requires: {battery: 4}' })).toMatchObject({
      hint: "Did you mean 'require'?",
    })
    expect(problem({ 'sluice.dev/intent': 'policy: enrgy' })).toMatchObject({ hint: "Did you mean 'energy'?" })
    expect(problem({ 'sluice.dev/intent': '{require: {battery: 4}', x: '' })?.code).toBe('SLUICE_INTENT_BLOCK')
    expect(problem({ 'sluice.dev/intent': 'require: {latency: 5}', 'fluidos-intent-latency': '9' })?.code).toBe(
      'SLUICE_INTENT_TWICE',
    )
    expect(readMeaning({ 'kubernetes.io/change-cause': 'x', 'sluice.dev/offload-to': 'g' }).problems).toEqual([])
  })

  it('never throws, and never takes a value it does not understand for none (property)', () => {
    const name = fc.oneof(fc.constantFrom(...INTENT_NAMES), fc.string({ maxLength: 12 }))
    fc.assert(
      fc.property(name, fc.string(), (key, value) => {
        const { meaning, problems } = one(key, value)
        const silent = [
          'service',
          'mspl',
          'max-delay',
          'robot-preferred',
          'tee-readiness',
          'cyber-deception',
          'magi',
        ].includes(key)
        expect(silent || meaning.intents.length + problems.length === 1).toBe(true)
        for (const each of problems) expect(each.hint).toBeDefined()
      }),
    )
    fc.assert(fc.property(fc.string(), (text) => void readMeaning({ 'sluice.dev/intent': text })))
    fc.assert(fc.property(fc.json(), (text) => void readMeaning({ 'sluice.dev/intent': text })))
  })

  it('reads quantities', () => {
    expect(['500m', '1', '64Mi', '1e3', '2k', '-1', 'x', '', '1ki'].map(parseQuantity)).toEqual([
      0.5,
      1,
      2 ** 26,
      1000,
      2000,
      -1,
      undefined,
      undefined,
      undefined,
    ])
  })
})
