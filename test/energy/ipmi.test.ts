import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { IpmiSource } from '../../agent/energy/ipmi.ts'
import { emptySample } from '../../agent/energy/sample.test-helper.ts'
import { type RunTool, runTool } from '../../agent/energy/slow-probe.ts'
import type { MeterReading } from '../../agent/energy/source.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { eventually } from '../harness/until.ts'
import { type SimulatedBmc, startBmc } from './bmc.ts'

const missing = ['ipmi_sim', 'ipmitool'].filter((tool) => spawnSync(tool, ['-V']).error !== undefined)
if (missing.length > 0 && process.env['CI'] !== 'true') {
  process.stderr.write(`${missing.join(' and ')} missing: apt-get install openipmi ipmitool libopenipmi-dev\n`)
}

interface Asked {
  readonly source: IpmiSource
  readonly clock: VirtualClock
  readonly argvs: (readonly string[])[]
  readonly meter: () => MeterReading | undefined
  /** Moves time until that is so; the BMC takes a moment to start, and polls its file. */
  readonly until: (what: string, sign: () => boolean) => Promise<void>
}

function ask(bmc: SimulatedBmc): Asked {
  const clock = new VirtualClock()
  const argvs: (readonly string[])[] = []
  const run: RunTool = (command, args, options) => {
    argvs.push(args)
    return runTool(command, args, options)
  }
  const config = { host: '127.0.0.1', port: bmc.port, user: 'admin', passwordFile: bmc.passwordFile }
  const source = new IpmiSource(config, clock, run)
  source.discover()
  const meter = () => {
    const sample = emptySample()
    source.sample(sample)
    return sample.meters[0]
  }
  const until = async (what: string, sign: () => boolean) => {
    await eventually(
      async () => {
        if (sign()) return true
        await clock.advance(15_000)
        return undefined
      },
      what,
      40_000,
    )
  }
  return { source, clock, argvs, meter, until }
}

// ipmitool takes ten seconds to find that a BMC does not know its newest cipher suite: they wait side by side.
describe.skipIf(missing.length > 0 && process.env['CI'] !== 'true')(
  'a BMC',
  { timeout: 60_000, concurrent: true },
  () => {
    test('without DCMI is asked for its power sensor, at its own pace, with the password in a file', async () => {
      await using bmc = await startBmc()
      bmc.measure(42)
      const { source, meter, until, argvs } = ask(bmc)
      using _ = source
      await until('the first 42 W', () => meter()?.watts === 42)
      expect(source.health()).toEqual([{ source: 'ipmi', state: 'ok' }])
      bmc.measure(118)
      await until('the 118 W that followed', () => meter()?.watts === 118)
      const password = readFileSync(bmc.passwordFile, 'utf8').trim()
      expect(argvs.length).toBeGreaterThan(2)
      expect(argvs.flat().some((argument) => argument.includes(password))).toBe(false)
      expect(argvs.filter((argv) => argv.includes('dcmi')).length).toBeLessThan(argvs.length)
    })

    test('with DCMI is asked by it, and followed', async () => {
      await using bmc = await startBmc({ dcmi: 118 })
      const { source, meter, until, argvs } = ask(bmc)
      using _ = source
      await until('118 W by DCMI', () => meter()?.watts === 118)
      expect(meter()).toMatchObject({ by: 'dcmi', covers: 'machine', source: 'measured' })
      bmc.dcmi(231)
      await until('the 231 W that followed', () => meter()?.watts === 231)
      expect(source.health()).toEqual([{ source: 'ipmi', state: 'ok' }])
      expect(argvs.some((argv) => argv.includes('sensor'))).toBe(false)
    })

    test('tells DCMI that is absent, switched off, forbidden and at nought apart, and invents no watts', async () => {
      await using bmc = await startBmc({ dcmi: 'c1', sensor: false })
      const { source, meter, until } = ask(bmc)
      using _ = source
      const state = () => source.health()[0]!
      await until('no DCMI', () => /no DCMI/.test(state().reason ?? ''))
      expect([state().state, meter()]).toEqual(['absent', undefined])
      bmc.dcmi('off')
      await until('switched off', () => /switched off/.test(state().reason ?? ''))
      expect([state().state, meter()]).toEqual(['absent', undefined])
      bmc.dcmi('d4')
      await until('forbidden', () => state().state === 'forbidden')
      expect([state().remedy, meter()]).toEqual([expect.stringContaining('OPERATOR'), undefined])
      bmc.dcmi(0)
      await until('nought', () => meter()?.watts === 0)
      expect(meter()?.doubt).toMatch(/0 W/)
      bmc.dcmi(87)
      await until('87 W', () => meter()?.watts === 87)
      expect(state()).toEqual({ source: 'ipmi', state: 'ok' })
    })

    test('whose DCMI is switched off is asked for its sensor', async () => {
      await using bmc = await startBmc({ dcmi: 'off' })
      bmc.measure(42)
      const { source, meter, until } = ask(bmc)
      using _ = source
      await until('42 W', () => meter()?.watts === 42)
      expect(meter()?.by).toBe('ipmi')
    })

    test('that cannot be reached is faulty, and gives no figure', async () => {
      const clock = new VirtualClock()
      let ended = false
      const config = { host: '127.0.0.1', port: 9, user: 'admin', passwordFile: '/nowhere' }
      using source = new IpmiSource(config, clock, async (...call) =>
        runTool(...call).finally(() => void (ended = true)),
      )
      source.discover()
      await eventually(() => ended, 'the end of ipmitool', 20_000)
      const sample = emptySample()
      source.sample(sample)
      expect(sample.meters).toEqual([])
      expect(source.health()[0]).toMatchObject({ state: 'faulty' })
    })
  },
)
