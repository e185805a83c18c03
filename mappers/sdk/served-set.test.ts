import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../api/errors.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import type { DeviceBinding, DeviceReachability, MapperHost } from './mapper.ts'
import { type Compiled, closeAside, ServedSet } from './served-set.ts'

const bench = () => {
  const news: DeviceReachability[] = []
  const logs: string[] = []
  const clock = new VirtualClock()
  const host = {
    clock,
    random: () => 0.5,
    readings: () => undefined,
    reachability: (some: readonly DeviceReachability[]) => void news.push(...some),
    log: (_level: string, message: string) => void logs.push(message),
    event: () => undefined,
    writeNews: () => undefined,
  } satisfies MapperHost
  const compiled: string[] = []
  const set = new ServedSet<Compiled, { readonly id: number }>('tiny', host, ({ key, revision }) => {
    if (revision === 'bad') throw new SluiceError('SLUICE_INTERNAL', `${key} makes no sense`)
    compiled.push(`${key}@${revision}`)
    return { key, revision }
  })
  const happened: string[] = []
  let id = 0
  const configure = (bindings: readonly DeviceBinding[], refused: Readonly<Record<string, string>> = {}) => {
    const wanted = set.compile(bindings)
    for (const [key, reason] of Object.entries(refused)) set.refuse(key, reason)
    set.retire(wanted, (_served, key, gone) => happened.push(`- ${key}${gone ? ' gone' : ''}`))
    set.serve(wanted, ({ key }) => {
      happened.push(`+ ${key}`)
      return { id: id++ }
    })
    set.tell()
    return happened.splice(0)
  }
  return { set, configure, news, logs, compiled, host }
}

const binding = (key: string, revision = '1'): DeviceBinding => ({
  key,
  revision,
  device: { model: 'm' },
  model: { properties: [] },
})

const command = (device: string) => ({ device, property: 'speed', value: 1, version: 1, deadlineMs: 1000 })

describe('a set of served devices', () => {
  it('touches only what differs from the set before', () => {
    const { configure, compiled, set } = bench()
    expect(configure([binding('n/a'), binding('n/b')])).toEqual(['+ n/a', '+ n/b'])
    const a = set.get('n/a')
    expect(configure([binding('n/a'), binding('n/b', '2'), binding('n/c')])).toEqual(['- n/b', '+ n/b', '+ n/c'])
    expect(set.get('n/a')).toBe(a)
    expect(compiled).toEqual(['n/a@1', 'n/b@1', 'n/b@2', 'n/c@1'])
    expect(configure([binding('n/a')])).toEqual(['- n/b gone', '- n/c gone'])
  })

  it('tells why a device is not served once, and again when the reason changes', () => {
    const { configure, news, logs, set } = bench()
    configure([binding('n/a', 'bad')])
    configure([binding('n/a', 'bad')])
    expect(news).toMatchObject([{ device: 'n/a', online: false, reason: 'n/a makes no sense' }])
    expect(logs).toEqual(['tiny: n/a is not served'])
    expect(set.notServed(command('n/a'))).toMatchObject({
      code: 'SLUICE_WRITE_NOT_SERVED',
      reason: 'n/a makes no sense',
    })
    expect(configure([binding('n/a')], { 'n/a': 'the wire is taken' })).toEqual([])
    expect(news.at(-1)?.reason).toBe('the wire is taken')
    expect(configure([binding('n/a')])).toEqual(['+ n/a'])
    expect(set.notServed(command('n/b'))).toMatchObject({ reason: 'n/b is not served by this gateway' })
    expect(set.notBound(command('n/a'))).toMatchObject({ code: 'SLUICE_WRITE_UNKNOWN_PROPERTY' })
  })

  it('ends a running device that the protocol refuses', () => {
    const { configure } = bench()
    configure([binding('n/a'), binding('n/b')])
    expect(configure([binding('n/a'), binding('n/b')], { 'n/b': 'another speed' })).toEqual(['- n/b'])
  })

  it('logs a close that fails and goes on', async () => {
    const { host, logs } = bench()
    await closeAside({ [Symbol.asyncDispose]: () => Promise.reject(new Error('stuck')) }, 'tiny', 'line 1', host)
    expect(logs).toEqual(['tiny: closing line 1 failed'])
  })
})
