import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { IpmiSource } from '../../agent/energy/ipmi.ts'
import { emptySample } from '../../agent/energy/sample.test-helper.ts'
import { type RunTool, runTool } from '../../agent/energy/slow-probe.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { eventually } from '../harness/until.ts'
import { startBmc } from './bmc.ts'

const missing = ['ipmi_sim', 'ipmitool'].filter((tool) => spawnSync(tool, ['-V']).error !== undefined)
if (missing.length > 0 && process.env['CI'] !== 'true') {
  process.stderr.write(`${missing.join(' and ')} missing: apt-get install openipmi ipmitool\n`)
}

describe.skipIf(missing.length > 0 && process.env['CI'] !== 'true')('a BMC', { timeout: 60_000 }, () => {
  test('without DCMI is asked for its power sensor, at its own pace, with the password in a file', async () => {
    await using bmc = await startBmc()
    bmc.measure(42)
    const clock = new VirtualClock()
    const argvs: (readonly string[])[] = []
    const run: RunTool = (command, args, options) => {
      argvs.push(args)
      return runTool(command, args, options)
    }
    const config = { host: '127.0.0.1', port: bmc.port, user: 'admin', passwordFile: bmc.passwordFile }
    using source = new IpmiSource(config, clock, run)
    source.discover()
    const watts = () => {
      const sample = emptySample()
      source.sample(sample)
      return sample.meters[0]?.watts
    }
    // The BMC takes a moment to start and polls its file: time is moved until it has answered with that.
    const measures = (wanted: number) => async () => {
      if (watts() === wanted) return true
      await clock.advance(15_000)
      return undefined
    }
    await eventually(measures(42), 'the first 42 W', 40_000)
    expect(source.health()).toEqual([{ source: 'ipmi', state: 'ok' }])
    bmc.measure(118)
    await eventually(measures(118), 'the 118 W that followed', 40_000)
    const password = readFileSync(bmc.passwordFile, 'utf8').trim()
    expect(argvs.length).toBeGreaterThan(2)
    expect(argvs.flat().some((argument) => argument.includes(password))).toBe(false)
    expect(argvs.filter((argv) => argv.includes('dcmi')).length).toBeLessThan(argvs.length)
  })

  test('that cannot be reached is faulty, and gives no figure', async () => {
    const clock = new VirtualClock()
    let ended = false
    const config = { host: '127.0.0.1', port: 9, user: 'admin', passwordFile: '/nowhere' }
    using source = new IpmiSource(config, clock, async (...call) => runTool(...call).finally(() => void (ended = true)))
    source.discover()
    await eventually(() => ended, 'the end of ipmitool', 20_000)
    const sample = emptySample()
    source.sample(sample)
    expect(sample.meters).toEqual([])
    expect(source.health()[0]).toMatchObject({ state: 'faulty' })
  })
})
