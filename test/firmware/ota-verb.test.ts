import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EXIT } from '../../cli/verb.ts'
import { lacks } from '../../hil/boards/test-boards.test-helper.ts'
import { runSluice } from '../cli/run-sluice.ts'
import { GATEWAY, Plant } from './plant.ts'

/** The command itself, with a real agent, a real cloud core and a board in an emulator between its polls. */
describe.skipIf(lacks('arm-none-eabi-gcc', 'qemu-system-arm'))('sluice fw ota', { timeout: 150_000 }, () => {
  const plant = new Plant('mps2-an385')
  const signal = AbortSignal.timeout(280_000)
  const ota = (...more: readonly string[]) =>
    runSluice(
      ...['fw', 'ota', plant.project, '--namespace', 'default', '--data', plant.cloudData, '--json'],
      ...['--polls', '3', '--timeout', '30s', ...more],
    )
  const statuses = (stdout: string) =>
    stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as { phase?: string; devices?: { state: string; running?: string }[] })

  beforeAll(async () => {
    await plant.begin()
    await plant.startCloud()
    await plant.apply()
    await plant.startAgent()
    await plant.device((device) => device.status?.state === 'online', signal)
  }, 120_000)
  afterAll(() => plant[Symbol.asyncDispose]())

  it('builds, signs, sends and follows until the board is confirmed', async () => {
    plant.version('0.2.0')
    const { code, stdout, stderr } = await ota('--gateway', GATEWAY, '--keys', plant.keys)
    expect(code, stderr).toBe(EXIT.ok)
    const told = statuses(stdout)
    expect(told.at(-1)).toMatchObject({ phase: 'Done', devices: [{ state: 'confirmed', running: '0.2.0' }] })
  })

  it('ends with its own exit code when the new firmware does not come up, and says what became of the board', async () => {
    plant.version('0.3.0')
    plant.app((text) => text.replace('void app_loop(void) {}', 'void app_loop(void) { for (;;) continue; }'))
    const { code, stderr } = await ota('--device', 'greenhouse', '--keys', plant.keys)
    expect(code, stderr).toBe(EXIT.rolledBack)
    expect(stderr).toContain('SLUICE_FW_OTA_HALTED')
    expect(stderr).toContain('0.2.0')
    await plant.device((device) => device.status?.state === 'online', signal)
  })

  it('says what is wrong before it builds anything or tells the cloud core', async () => {
    const file = join(plant.project, 'app', 'app.c')
    const app = readFileSync(file)
    writeFileSync(file, 'this is no C\n')
    const nobody = await ota('--gateway', 'gw-9', '--keys', plant.keys)
    expect(nobody).toMatchObject({ code: EXIT.usage, stderr: expect.stringContaining('serves no device of model') })
    const neither = await ota('--keys', plant.keys)
    expect(neither).toMatchObject({
      code: EXIT.usage,
      stderr: expect.stringContaining('--gateway NAME or --device NAME'),
    })
    const noKey = await ota('--gateway', GATEWAY)
    expect(noKey).toMatchObject({ code: EXIT.usage, stderr: expect.stringContaining('there is no key to sign with') })
    writeFileSync(file, app)
  })
})
