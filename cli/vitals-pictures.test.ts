import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AttributionSnapshot, EnergySnapshot } from '../agent/energy/snapshot.ts'
import type { PolicyExplanation } from '../agent/policy/explain.ts'
import { energyRows, energyTable, headLines, joulesWords } from './energy-picture.ts'
import { colorless, createOutput } from './output.ts'
import { displayWidth } from './text.ts'
import { linkLines } from './verbs/link.ts'
import { noticeLines } from './verbs/notices.ts'
import { policyExplain } from './verbs/policy-explain.ts'

const at = '2026-01-01T00:00:00.000Z'
const part = (name: string, watts: number, joules = watts * 10) => ({ name, watts, joules })
const attribution: AttributionSnapshot = {
  policy: 'system',
  source: 'estimated',
  whole: part('whole', 10),
  idle: part('idle', 2),
  rest: part('rest', 1),
  pods: [{ ...part('plant/web', 4), uid: 'u', cpuSeconds: 1, zones: [], containers: [], state: 'running' }],
  slices: [part('system.slice', 0.5, 900)],
  agent: {
    ...part('agent', 2.5),
    own: part('own', 1),
    mappers: [{ ...part('modbus', 1.5), devices: [part('default/a', 0.1), part('plant/b', 1)] }],
  },
}
const snapshot = (words: Partial<EnergySnapshot> = {}): EnergySnapshot => ({
  ...{ totals: { measuredJ: 0, estimatedJ: 0, unknownS: 0 }, zones: [], meters: [], packs: [], sources: [] },
  power: { watts: 10, source: 'estimated', by: 'model', errorPercent: 30, supply: 'mains', at },
  attribution,
  ...words,
})

describe('energy top', () => {
  it('lists the whole, then its parts by what they take, devices below their mapper', () => {
    const rows = energyRows(snapshot(), 'watts')
    expect(rows.map(({ kind, name }) => `${kind} ${name}`)).toEqual([
      'whole gateway',
      'pod plant/web',
      'agent sluice agent',
      'mapper modbus',
      'device plant/b',
      'device default/a',
      'idle switched on',
      'rest everything else',
      'slice system.slice',
    ])
    expect(rows[1]!.share).toBeCloseTo(0.4)
    expect(energyRows(snapshot(), 'joules')[1]).toMatchObject({ kind: 'slice', joules: 900 })
    expect(energyTable(rows, colorless, 100)[2]).toMatch(/^plant\/web +pod +4\.00W +40% +40\.0J +████████$/)
  })

  it('says whether the power is measured, and when nothing is known', () => {
    expect(headLines(snapshot(), colorless)).toEqual(['10.0W estimated by model ±30%, on mains'])
    const { power: _, attribution: __, ...bare } = snapshot()
    expect(headLines(bare, colorless)).toEqual(['Nothing tells the power of this gateway yet.'])
    expect(energyRows(bare, 'watts')).toEqual([])
  })

  it('is never wider than the terminal, nor broken by names and figures', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.double({ min: 0, max: 1e9 }),
        fc.integer({ min: 40, max: 200 }),
        (name, watts, width) => {
          const rows = energyRows(snapshot({ attribution: { ...attribution, slices: [part(name, watts)] } }), 'watts')
          for (const line of energyTable(rows, colorless, width)) {
            expect(displayWidth(line)).toBeLessThanOrEqual(width)
            // Nothing that a terminal would obey.
            expect(line).not.toMatch(/\p{Cc}/u)
          }
        },
      ),
    )
    expect(joulesWords(90_000)).toBe('25.0Wh')
  })
})

describe('link', () => {
  it('shows the way to the hub, interfaces and devices', () => {
    const lines = linkLines(
      {
        hub: 'wss://hub:7443',
        connected: true,
        link: { roundTripMs: 24, jitterMs: 2, lossRatio: 0.015, quality: 0.7, trend: 'degrading', reconnects: 2 },
        networks: [
          {
            name: 'wlan0',
            kind: 'wifi',
            up: true,
            toHub: true,
            signalDbm: -61,
            bitrateBps: 65e6,
            accessPoint: '02:00',
            roams: 1,
          },
        ],
      },
      [
        {
          namespace: 'plant',
          name: 'tag',
          model: 'm',
          state: 'online',
          twins: [],
          link: { rssiDbm: -80, spreadingFactor: 9 },
          battery: { percent: 55 },
        },
      ],
      colorless,
      120,
    )
    expect(lines[0]).toBe(
      '● wss://hub:7443: round trip 24.0 ms, jitter 2.0 ms, loss 1.5 %, quality 0.70, degrading, 2 reconnects',
    )
    expect(lines[3]).toMatch(/^→ wlan0 +wifi +up +-61 dBm .*65\.0Mbit\/s .*02:00$/)
    expect(lines.at(-1)).toMatch(/^plant\/tag +online +-80 dBm .* 9 .*55 %$/)
    expect(linkLines({ hub: null, connected: false, link: undefined, networks: [] }, [], colorless, 80)).toEqual([
      '○ this gateway has not joined a cloud core',
    ])
  })
})

describe('policy explain', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-policy-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  const GATEWAY = `
apiVersion: sluice.dev/v1alpha1
kind: Gateway
metadata: {name: gw-1}
spec:
  policy:
    stages:
      - {name: saver, when: [{batteryBelow: 50}], poll: 10, pause: [deferrable]}
---
apiVersion: sluice.dev/v1alpha1
kind: DeviceModel
metadata: {name: m}
spec: {properties: [{name: v, type: int, modbus: {holding: 0}}]}
---
apiVersion: sluice.dev/v1alpha1
kind: Device
metadata: {name: pump}
spec: {model: m, nodeName: gw-1, modbus: {tcp: {host: h}, unit: 1}}
---
apiVersion: sluice.dev/v1alpha1
kind: Device
metadata: {name: spare}
spec: {model: m, nodeName: gw-1, importance: deferrable, modbus: {tcp: {host: h}, unit: 2}}
---
apiVersion: sluice.dev/v1alpha1
kind: Device
metadata: {name: elsewhere}
spec: {model: m, nodeName: gw-2, modbus: {tcp: {host: h}, unit: 3}}
`
  const NO_FACTS = {
    battery: undefined,
    'on-battery': false,
    'empty-in': undefined,
    celsius: undefined,
    throttled: false,
    link: undefined,
  }
  async function explain(file: string, json: boolean, options: Partial<{ battery: number }> = {}) {
    let text = ''
    const out = createOutput(
      { columns: 100, write: (chunk) => void (text += chunk) },
      { write: () => {} },
      { json, color: false, env: {} },
    )
    const path = join(folder, 'gateway.yaml')
    writeFileSync(path, file)
    await policyExplain.run({
      options: { data: undefined, ...NO_FACTS, ...options },
      args: [path],
      out,
      signal: AbortSignal.timeout(10_000),
      env: {},
    })
    return text
  }

  it('shows for each device of a file what each stage changes, without anything running', async () => {
    const text = await explain(GATEWAY, false, { battery: 30 })
    expect(text).toContain('stage saver (charge below 50 %); known: charge 30 %')
    expect(text).toMatch(/^pump +normal +reads 1s +reads 10s$/m)
    expect(text).toMatch(/^spare +deferrable +reads 1s +paused$/m)
    expect(text).not.toContain('elsewhere')
    const json = JSON.parse(await explain(GATEWAY, true)) as PolicyExplanation
    expect(json).toMatchObject({ stage: 'normal', stages: [{ stage: 'saver', holds: false, stretched: 1, paused: 1 }] })
  })

  it('refuses a file without a Gateway, and a policy that is none', async () => {
    const [, ...rest] = GATEWAY.split('---')
    await expect(explain(rest.join('---'), false)).rejects.toMatchObject({ code: 'SLUICE_CLI_NO_GATEWAY' })
    await expect(explain(GATEWAY.replace('poll: 10', 'poll: 0'), false)).rejects.toMatchObject({
      code: expect.stringMatching(/^SLUICE_/),
    })
  })
})

describe('notices', () => {
  it('stand one a line with their count, and what a device made up cannot move the cursor', () => {
    const lines = noticeLines(
      [
        {
          about: 'plant/probe',
          type: 'Warning',
          reason: 'WrongKey',
          message: 'the MIC is wrong\u001b[2J',
          count: 12,
          firstAt: at,
          lastAt: '2026-01-02T03:04:05.000Z',
        },
      ],
      colorless,
      200,
    )
    expect(lines).toHaveLength(2)
    expect(lines[1]).toMatch(/2026-01-02 03:04:05 +12 +plant\/probe +WrongKey +the MIC is wrong/)
    expect(lines[1]).not.toContain('\u001b')
  })
})
