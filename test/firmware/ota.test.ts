import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cloudEndpoint } from '../../cli/device-api.ts'
import { beginRollout, devicesOf, publish } from '../../cli/fw/rollout.ts'
import { lacks } from '../../hil/boards/test-boards.test-helper.ts'
import { GATEWAY, Plant } from './plant.ts'

const OVER = /Done|Halted|RolledBack/
const CANARY = { canary: 1, health: { polls: 5, timeout: '30s' } } as const

describe.skipIf(lacks('arm-none-eabi-gcc', 'qemu-system-arm'))('an update over the line a board is polled on', () => {
  const plant = new Plant('mps2-an385')
  const signal = AbortSignal.timeout(280_000)

  const update = async () => {
    const release = await plant.sign()
    const model = release.spec.model
    const devices = await devicesOf(plant.kube, { namespace: 'default', model, gateway: GATEWAY }, signal)
    await publish(plant.kube, cloudEndpoint(plant.cloudData), release, 'default', signal)
    const rollout = await beginRollout(plant.kube, release, 'default', { devices, ...CANARY }, signal)
    return rollout.metadata.name
  }

  beforeAll(async () => {
    await plant.begin()
    await plant.startCloud()
    await plant.apply()
    await plant.startAgent()
    await plant.device((device) => device.status?.state === 'online', signal)
  }, 120_000)
  afterAll(() => plant[Symbol.asyncDispose]())

  it('is sent between the polls, tried, found healthy and confirmed', async () => {
    plant.version('0.2.0')
    const name = await update()
    const end = await plant.rollout(name, ({ status }) => OVER.test(status?.phase ?? ''), signal)
    expect(end.status).toMatchObject({ phase: 'Done', progress: '1/1', failed: 0 })
    expect(end.status?.devices).toMatchObject([{ state: 'confirmed', running: '0.2.0', gateway: GATEWAY }])
  }, 120_000)

  it('goes on where it was when the agent and then the board restart in the middle', async () => {
    plant.version('0.3.0')
    const name = await update()
    const percentOf = (rollout: { status?: { devices?: readonly { percent?: number }[] } }) =>
      rollout.status?.devices?.[0]?.percent ?? 0
    await plant.rollout(name, (rollout) => percentOf(rollout) > 5, signal)
    await plant.stopAgent()
    await plant.startAgent()
    await plant.rollout(name, (rollout) => percentOf(rollout) > 40 || rollout.status?.phase === 'Done', signal)
    await plant.rig.powerCut()
    await plant.rig.powerOn()
    const end = await plant.rollout(name, ({ status }) => OVER.test(status?.phase ?? ''), signal)
    expect(end.status).toMatchObject({ phase: 'Done', devices: [{ state: 'confirmed', running: '0.3.0' }] })
  }, 120_000)

  it('is rolled back, and the rollout halts, when the new firmware does not come up', async () => {
    plant.version('0.4.0')
    plant.app((text) => text.replace('void app_loop(void) {}', 'void app_loop(void) { for (;;) continue; }'))
    const name = await update()
    const end = await plant.rollout(name, ({ status }) => OVER.test(status?.phase ?? ''), signal)
    expect(end.status).toMatchObject({ phase: 'RolledBack', failed: 1, progress: '0/1' })
    expect(end.status?.devices).toMatchObject([{ state: 'rolledBack' }])
    expect(end.status?.devices?.[0]?.running).not.toBe('0.4.0')
    await plant.device((device) => device.status?.state === 'online', signal)
  }, 120_000)

  it('sends nothing that the board would refuse: a release of an older version is refused before', async () => {
    plant.version('0.1.0')
    plant.app((text) => text.replace('void app_loop(void) { for (;;) continue; }', 'void app_loop(void) {}'))
    const name = await update()
    const end = await plant.rollout(name, ({ status }) => OVER.test(status?.phase ?? ''), signal)
    expect(end.status?.phase).toBe('Halted')
    expect(end.status?.devices?.[0]).toMatchObject({ state: 'failed' })
    expect(end.status?.devices?.[0]?.message).toContain('0.1.0 is older than 0.3.0')
  }, 120_000)
})
