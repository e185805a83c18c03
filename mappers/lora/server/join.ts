import { buildJoinAccept, devAddrText, type JoinRequest, joinRequestFits } from '../codec.ts'
import { deriveSessionKeys } from '../keys.ts'
import { cfListChannels, cfListOf, type NetworkWishes, startState } from './mac-layer.ts'
import type { ServedDevice } from './served-device.ts'
import type { Session, SessionStore } from './session.ts'

/** RX1 of a join accept opens 5 s after the request in every region. */
export const JOIN_ACCEPT_DELAY_S = 5

export type JoinVerdict =
  | { readonly accepted: true; readonly phy: Buffer; readonly session: Session }
  | { readonly accepted: false; readonly kind: string; readonly reason: string }

const refuse = (kind: string, reason: string): JoinVerdict => ({ accepted: false, kind, reason })

/**
 * Judges the join request of a known device. When it is accepted, session, nonces and counters are on the disk before
 * this returns. Throws what the storage throws, and then nothing has changed.
 * @param freeDevAddr finds an address nobody uses.
 */
export function judgeJoin(
  served: ServedDevice,
  request: JoinRequest,
  phy: Uint8Array,
  network: {
    readonly netId: number
    readonly wishes: NetworkWishes
    readonly store: SessionStore
    readonly freeDevAddr: () => number
  },
): JoinVerdict {
  const { device, nonces } = served
  const { activation, devEui } = device
  if (activation.kind !== 'otaa')
    return refuse('join-abp', `${devEui} is configured with fixed keys (ABP) and asks to join`)
  if (device.joinEui !== undefined && device.joinEui !== request.joinEui) {
    return refuse('join-eui', `${devEui} joins with JoinEUI ${request.joinEui}, configured is ${device.joinEui}`)
  }
  if (!joinRequestFits(phy, request, activation.appKey)) {
    return refuse('join-mic', `the join request of ${devEui} was made with another AppKey`)
  }
  if (nonces.has(request.devNonce)) {
    return refuse(
      'join-replay',
      `${devEui} used DevNonce ${request.devNonce} before: a replay, or the device lost its counter`,
    )
  }
  const { netId, wishes, store } = network
  const joinNonce = store.nextJoinNonce(devEui)
  const devAddr = network.freeDevAddr()
  const session: Session = {
    devAddr,
    keys: deriveSessionKeys(activation.appKey, joinNonce, netId, request.devNonce),
    fUp: -1,
    fDown: 0,
    radio: { ...startState(device.region, wishes), channels: cfListChannels(device) },
  }
  nonces.add(request.devNonce)
  store.joined(device, session, nonces, joinNonce)
  const cfList = cfListOf(device)
  const accept = buildJoinAccept(
    {
      joinNonce,
      netId,
      devAddr,
      rx1DrOffset: session.radio.rx1DrOffset,
      rx2DataRate: session.radio.rx2Dr,
      rxDelay: session.radio.rx1Delay,
      ...(cfList === undefined ? {} : { cfList }),
    },
    activation.appKey,
  )
  return { accepted: true, phy: accept, session }
}

/** An address of the network (type 0: 6 bits of the NetID and 25 of our own) that is not taken. */
export function pickDevAddr(netId: number, random: () => number, taken: (devAddr: number) => boolean): number {
  for (let tries = 0; ; tries++) {
    const devAddr = (((netId & 0x3f) << 25) | Math.floor(random() * 2 ** 25)) >>> 0
    // Addresses may be shared, the MIC tells devices apart; it only costs time.
    if (!taken(devAddr) || tries >= 100) return devAddr
  }
}

export const joinedText = (session: Session): string => `joined as ${devAddrText(session.devAddr)}`
