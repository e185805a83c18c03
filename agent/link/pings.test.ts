import { expect, it } from 'vitest'
import type { AgentFrame, HubFrame } from '../../api/link/messages.ts'
import { Plant, temporaryDirectory } from '../test-helpers/plant.ts'
import { LinkClient } from './client.ts'
import { newLinkStatus, observePing, observeRoundTrip } from './status.ts'
import type { Dial, Transport } from './transport.ts'

it('tells the share of pings that nobody answered, of the last sixty', () => {
  const status = newLinkStatus('')
  expect(status.lossRatio).toBeUndefined()
  for (let ping = 0; ping < 60; ping++) observePing(status, ping % 4 !== 0)
  expect(status.lossRatio).toBe(0.25)
  for (let ping = 0; ping < 60; ping++) observePing(status, true)
  expect(status.lossRatio).toBe(0)
  expect(status.pings).toHaveLength(60)
})

it('smooths the variation of the round trip as RFC 3550 does', () => {
  const status = newLinkStatus('')
  observeRoundTrip(status, 100)
  observeRoundTrip(status, 116)
  expect(status).toMatchObject({ roundTripMs: 116, jitterMs: 1 })
})

it('counts pings of a hub that goes silent as lost, once each', async () => {
  using directory = temporaryDirectory()
  const plant = new Plant(directory.path)
  const status = newLinkStatus('wss://hub')
  let answers = true
  const dial: Dial = (events) => {
    const answer = (frame: HubFrame) => plant.clock.after(20, () => events.onMessage(JSON.stringify(frame)))
    const transport: Transport = {
      bufferedBytes: 0,
      peerAddress: '192.0.2.1',
      close: events.onClose,
      send(text) {
        const frame = JSON.parse(text) as AgentFrame
        const nowMs = plant.clock.now()
        const window = { batches: 4, bytes: 65_536 }
        if (frame.t === 'hello')
          answer({ t: 'welcome', v: 1, session: 's', nowMs, heartbeatMs: 15_000, received: [], window })
        if (frame.t === 'ping' && answers) answer({ t: 'pong', id: frame.id })
      },
    }
    plant.clock.after(1, () => events.onOpen(transport))
    return { close: events.onClose }
  }
  const client = new LinkClient({
    ...{ core: plant.core, clock: plant.clock, random: () => 0.5, log: () => {}, status, dial },
    ...{ gateway: 'gw-1', agentVersion: '0', gatewayStatus: () => ({}) },
  })
  client.start()
  await plant.clock.advance(61_000)
  expect(status).toMatchObject({ lossRatio: 0, roundTripMs: 20, peerAddress: '192.0.2.1' })
  const answered = status.pings.length
  answers = false
  await plant.clock.advance(45_000)
  const lost = status.pings.filter((each) => !each).length
  expect(lost).toBeGreaterThanOrEqual(2)
  expect(status.pings.length).toBe(answered + lost)
  client[Symbol.dispose]()
  await plant.stop()
})
