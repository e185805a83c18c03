import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Device, DeviceModel, Json } from '../../api/resources.ts'
import { deviceRev, linkDevice, ownerOfDesired } from './desired.ts'
import { Fleet } from './fleet.ts'
import { iso, renderStatus, statusPatch } from './render.ts'

const NOW_MS = Date.UTC(2026, 5, 1)

function device(over: {
  rv: number
  generation: number
  desired?: Record<string, Json>
  gateway?: string
  uid?: string
  status?: Device['status']
}): Device {
  const { rv, generation, desired, gateway = 'gw', uid = 'uid-1', status } = over
  return {
    apiVersion: 'sluice.dev/v1alpha1',
    kind: 'Device',
    metadata: { name: 'a', namespace: 'n', uid, resourceVersion: String(rv), generation },
    spec: { model: 'm', nodeName: gateway, ...(desired === undefined ? {} : { desired }) },
    ...(status === undefined ? {} : { status }),
  }
}

const model = (generation = 1): DeviceModel => ({
  apiVersion: 'sluice.dev/v1alpha1',
  kind: 'DeviceModel',
  metadata: { name: 'm', namespace: 'n', uid: 'model', generation },
  spec: { properties: [{ name: 'p', type: 'int', access: 'readwrite' }] },
})

describe('the fleet', () => {
  it('never gives a desired version twice for different values, nor a lower one, also across restarts and recreation', () => {
    const step = fc.record({
      act: fc.constantFrom('set', 'unset', 'restart', 'recreate', 'touch'),
      value: fc.integer({ min: 0, max: 2 }),
      saved: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let rv = 100
        let generation = 1
        let uid = 1
        let desired: Record<string, Json> | undefined
        let status: Device['status']
        let fleet = new Fleet()
        fleet.upsertModel(model())
        let highest = 0
        let last: Json | undefined
        const put = () => {
          rv += 1
          const shape = { rv, generation, uid: `uid-${uid}`, ...(desired === undefined ? {} : { desired }) }
          fleet.upsertDevice(device({ ...shape, ...(status === undefined ? {} : { status }) }), NOW_MS)
        }
        put()
        for (const { act, value, saved } of steps) {
          if (act === 'set' || act === 'unset') {
            desired = act === 'set' ? { p: value } : undefined
            generation++
          } else if (act === 'restart') fleet = new Fleet()
          else if (act === 'recreate') {
            uid++
            generation = 1
            status = undefined
            fleet.removeDevice('n/a')
          }
          put()
          const record = fleet.devices.get('n/a')!
          // A gateway tells how the newest version it was given ended, also one that no status was written of.
          if (act === 'restart') fleet.heardOfVersion(record, 'p', highest)
          const held = linkDevice(record).desired['p']
          expect(held?.value).toEqual(desired?.['p'])
          if (held !== undefined) {
            expect(held.version).toBeGreaterThanOrEqual(highest)
            if (held.version === highest) expect(held.value).toEqual(last)
            highest = held.version
            last = held.value
          }
          if (saved) {
            rv += 1
            const context = { model: undefined, nowMs: NOW_MS, awaySinceMs: undefined }
            status = JSON.parse(JSON.stringify(renderStatus(record, context)))
          }
        }
      }),
      { numRuns: 300 },
    )
  })

  it('gives a value a new version when its gateway was told a newer one by a cloud core that was killed', () => {
    const twins = [{ name: 'p', desired: { value: 5, version: 42, at: iso(NOW_MS) } }]
    const fleet = new Fleet()
    fleet.upsertDevice(device({ rv: 90, generation: 3, desired: { p: 5 }, status: { twins } }), NOW_MS)
    const record = fleet.devices.get('n/a')!
    const rev = deviceRev(record)
    fleet.heardOfVersion(record, 'p', 42)
    expect(deviceRev(record)).toBe(rev)
    fleet.heardOfVersion(record, 'p', 77)
    expect(linkDevice(record).desired['p']).toMatchObject({ value: 5, version: 90 })
    expect(deviceRev(record)).not.toBe(rev)
  })

  it('keeps the version of a value that the status already holds', () => {
    const status: Device['status'] = {
      twins: [
        {
          name: 'p',
          desired: { value: 5, version: 42, at: iso(NOW_MS), by: 'ada' },
          state: 'synced',
          stateVersion: 42,
        },
      ],
    }
    const fleet = new Fleet()
    fleet.upsertDevice(device({ rv: 900, generation: 3, desired: { p: 5 }, status }), NOW_MS)
    expect(linkDevice(fleet.devices.get('n/a')!).desired['p']).toMatchObject({ value: 5, version: 42, by: 'ada' })
  })

  it('does not go back when the watch is slower than the answer to its own patch', () => {
    const fleet = new Fleet()
    fleet.upsertDevice(device({ rv: 10, generation: 1, desired: { p: 1 } }), NOW_MS)
    fleet.upsertDevice(device({ rv: 12, generation: 3, desired: { p: 3 } }), NOW_MS)
    fleet.upsertDevice(device({ rv: 11, generation: 2, desired: { p: 2 } }), NOW_MS)
    expect(linkDevice(fleet.devices.get('n/a')!).desired['p']).toMatchObject({ value: 3, version: 12 })
  })

  it('names content: status writes leave the name, changes of the spec do not', () => {
    const fleet = new Fleet()
    fleet.upsertDevice(device({ rv: 10, generation: 1, desired: { p: 1 } }), NOW_MS)
    const record = fleet.devices.get('n/a')!
    const rev = deviceRev(record)
    fleet.upsertDevice(device({ rv: 11, generation: 1, desired: { p: 1 } }), NOW_MS)
    expect(deviceRev(record)).toBe(rev)
    fleet.upsertDevice(device({ rv: 12, generation: 2, desired: { p: 2 } }), NOW_MS)
    expect(deviceRev(record)).not.toBe(rev)
  })

  it('tells both gateways when a device moves, and whose it is now', () => {
    const fleet = new Fleet()
    const told: string[] = []
    fleet.listen({ deviceChanged: (record, from) => told.push(`${from ?? ''}>${record.gateway}`) })
    fleet.upsertModel(model())
    fleet.upsertDevice(device({ rv: 1, generation: 1, gateway: 'gw-1' }), NOW_MS)
    fleet.upsertDevice(device({ rv: 2, generation: 2, gateway: 'gw-2' }), NOW_MS)
    expect(told).toEqual(['>gw-1', 'gw-1>gw-2'])
    expect([...fleet.wantedBy('gw-1')]).toEqual([])
    expect([...fleet.wantedBy('gw-2')].map(({ kind }) => kind)).toEqual(['DeviceModel', 'Device'])
  })

  it('finds who set a desired value in managedFields', () => {
    const fields = { 'f:spec': { 'f:desired': { 'f:p': {} } } }
    const meta = {
      name: 'a',
      managedFields: [
        { manager: 'old', time: '2026-01-01T00:00:00Z', fieldsV1: fields },
        { manager: 'kubectl-edit', time: '2026-02-01T00:00:00Z', fieldsV1: fields },
        { manager: 'sluice-cloudcore', subresource: 'status', time: '2026-03-01T00:00:00Z', fieldsV1: fields },
      ],
    }
    expect(ownerOfDesired(meta, 'p')).toBe('kubectl-edit')
    expect(ownerOfDesired(meta, 'q')).toBeUndefined()
  })

  it('writes only what changed', () => {
    const fleet = new Fleet()
    fleet.upsertModel(model())
    fleet.upsertDevice(device({ rv: 1, generation: 1 }), NOW_MS)
    const record = fleet.devices.get('n/a')!
    const context = { model: fleet.models.get('n/m'), nowMs: NOW_MS, awaySinceMs: undefined }
    const first = statusPatch(record, renderStatus(record, context))!
    for (const [field, digest] of first.digests) record.written.set(field, digest)
    expect(statusPatch(record, renderStatus(record, context))).toBeUndefined()
    record.reach = { online: true, atMs: NOW_MS, order: { epoch: 1, seq: 1 } }
    const second = statusPatch(record, renderStatus(record, { ...context, nowMs: NOW_MS + 5000 }))!
    expect(Object.keys(second.patch).sort()).toEqual(['conditions', 'state'])
  })

  it('finds nothing to write after a restart when nothing happened, whatever the order of keys in the API', () => {
    const twins = [
      { name: 'p', desired: { value: 5, version: 42, at: iso(NOW_MS), by: 'ada' }, state: 'synced', stateVersion: 42 },
    ]
    const before = new Fleet()
    before.upsertModel(model())
    const found = { twins, state: 'offline' } as const
    before.upsertDevice(device({ rv: 9, generation: 3, desired: { p: 5 }, status: found as Device['status'] }), NOW_MS)
    const record = before.devices.get('n/a')!
    const order = { epoch: 1, seq: 4 }
    record.reach = { online: false, atMs: NOW_MS, order, reason: 'unit 1 is silent', errorRate: 0.25, latencyMs: 8 }
    record.lastSeenMs = NOW_MS
    record.properties.get('p')!.twin = {
      ...record.properties.get('p')!.twin,
      reported: { value: 5, atMs: NOW_MS, quality: 'good', order },
      known: { value: 5, atMs: NOW_MS, quality: 'good', order },
    }
    const context = { model: before.models.get('n/m'), nowMs: NOW_MS, awaySinceMs: undefined }
    const status = sortKeys(JSON.parse(JSON.stringify(renderStatus(record, context)))) as Device['status']
    const after = new Fleet()
    after.upsertModel(model())
    after.upsertDevice(device({ rv: 10, generation: 3, desired: { p: 5 }, status }), NOW_MS + 1000)
    const restored = after.devices.get('n/a')!
    const later = { ...context, nowMs: NOW_MS + 1000 }
    expect(statusPatch(restored, renderStatus(restored, later))).toBeUndefined()
    restored.lastSeenMs = NOW_MS + 1000
    expect(Object.keys(statusPatch(restored, renderStatus(restored, later))!.patch)).toEqual(['lastSeen'])
  })
})

function sortKeys(value: Json): Json {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(sortKeys)
  const sorted = Object.entries(value).sort(([a], [b]) => (a < b ? 1 : -1))
  return Object.fromEntries(sorted.map(([key, item]) => [key, sortKeys(item)]))
}
