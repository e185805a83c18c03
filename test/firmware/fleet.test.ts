import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { FirmwareRolloutSpec } from '../../api/resources.ts'
import { cloudEndpoint } from '../../cli/device-api.ts'
import { beginRollout, isRolloutEnd, publish } from '../../cli/fw/rollout.ts'
import { lacks } from '../../hil/boards/test-boards.test-helper.ts'
import { Plant } from './plant.ts'

const SLOTS_BYTES = 2 * 1024 * 1024
const GOOD = 'sl_result read_temperature(float *value) {\n  (void)value;\n  return SL_OK;'

describe.skipIf(lacks('arm-none-eabi-gcc', 'qemu-system-arm'))('three boards on one line', () => {
  const plant = new Plant('mps2-an385', 3)
  const signal = AbortSignal.timeout(580_000)
  const [one = '', two = '', three = ''] = plant.names

  const roll = async (spec: Partial<FirmwareRolloutSpec> = {}) => {
    const release = await plant.sign()
    await publish(plant.kube, cloudEndpoint(plant.cloudData), release, 'default', signal)
    const whole = { devices: [one, two, three], health: { polls: 5, timeout: '20s' }, ...spec }
    const begun = await beginRollout(plant.kube, release, 'default', whole, signal)
    return plant.rollout(begun.metadata.name, isRolloutEnd, signal)
  }
  const slotsOf = (board: number) => plant.rigs[board]!.readFlash().then((bytes) => bytes.subarray(0, SLOTS_BYTES))
  const states = (rollout: Awaited<ReturnType<typeof roll>>) =>
    rollout.status?.devices?.map(({ state, running }) => (running === undefined ? state : `${state} ${running}`))
  const online = async () => {
    for (const name of plant.names) await plant.device(({ status }) => status?.state === 'online', signal, name)
  }

  beforeAll(async () => {
    await plant.begin()
    await plant.startCloud()
    await plant.apply()
    await plant.startAgent()
    await online()
  }, 240_000)
  afterAll(() => plant[Symbol.asyncDispose]())

  it('are brought to a release one after the other, the canary first', async () => {
    plant.version('0.2.0')
    const end = await roll()
    expect(end.status).toMatchObject({ phase: 'Done', progress: '3/3', failed: 0 })
    expect(states(end)).toEqual(['confirmed 0.2.0', 'confirmed 0.2.0', 'confirmed 0.2.0'])
  }, 240_000)

  it('stay as they are, but for the canary, when a release never becomes healthy', async () => {
    plant.version('0.3.0')
    plant.app((text) => text.replace(GOOD, GOOD.replace('SL_OK', 'SL_FAILED')))
    const before = [await slotsOf(1), await slotsOf(2)]
    // The time is waited for to its end: no board has to be well in it, only to be up and say what is wrong.
    const end = await roll({ health: { polls: 5, timeout: '12s' } })
    expect(end.status).toMatchObject({ phase: 'RolledBack', progress: '0/3', failed: 1, updating: 0 })
    expect(states(end)).toEqual(['rolledBack 0.2.0', 'pending', 'pending'])
    expect(end.status?.devices?.[0]?.message).toContain('temperature')
    expect(Buffer.compare(before[0]!, await slotsOf(1))).toBe(0)
    expect(Buffer.compare(before[1]!, await slotsOf(2))).toBe(0)
    await online()
  }, 240_000)

  it('all go back to the release before when one of a wave is not well', async () => {
    plant.version('0.4.0')
    const onlyTwo =
      'uint8_t unit;\n  (void)value;\n  sl_hal_flash_read(0x21800000u, &unit, 1);\n  return unit == 2 ? SL_FAILED : SL_OK;'
    plant.app((text) => text.replace('(void)value;\n  return SL_FAILED;', onlyTwo))
    const end = await roll()
    expect(end.status).toMatchObject({ phase: 'RolledBack', progress: '0/3', failed: 1 })
    expect(states(end)?.slice(0, 2)).toEqual(['reverted 0.2.0', 'rolledBack 0.2.0'])
    // The third may have waited for the line the whole time.
    expect(states(end)?.[2]).toBe('reverted 0.2.0')
    await online()
  }, 240_000)
})
