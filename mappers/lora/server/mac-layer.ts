import { requiredSnrDb } from '../airtime.ts'
import type { LoraDevice } from '../device-config.ts'
import { deviceTimeAns, type MacCommand, type MacName, macLength } from '../mac-commands.ts'
import { type Region, subBandChannels } from '../regions/region.ts'
import { chooseAdr } from './adr.ts'
import type { ServedDevice } from './served-device.ts'
import type { RadioState } from './session.ts'

/** Times a request is repeated before it is taken as refused. */
const MAX_ASKED = 3

/** What the network wants of every device beyond what its region says. */
export interface NetworkWishes {
  readonly rx1Delay: number
  readonly rx2Dr: number
}

/** The uplink that carried the commands. */
export interface UplinkFacts {
  readonly atMs: number
  readonly snrDb: number
  readonly sf: number
  readonly dr: number
  readonly gateways: number
  readonly adr: boolean
  readonly adrAckReq: boolean
}

export interface MacOutcome {
  readonly answers: readonly MacCommand[]
  /** DevStatusAns. */
  readonly status?: { readonly battery: number; readonly marginDb: number }
  /** The device repeats its answer until it hears from us. */
  readonly mustAnswer: boolean
  /** Something confirmed is worth keeping. */
  readonly changed: boolean
}

/** How a device starts that knows nothing but its region (ABP), or what a join accept gives it. */
export const startState = (region: Region, wishes?: NetworkWishes): RadioState => ({
  rx1Delay: wishes?.rx1Delay ?? region.rx1Delay,
  rx1DrOffset: 0,
  rx2Dr: wishes?.rx2Dr ?? region.rx2.dr,
  rx2Hz: region.rx2.frequencyHz,
  dr: -1,
  txPower: 0,
  nbTrans: 1,
  channels: [],
  dwell: region.dwellAtStart,
  refused: [],
  statusAskedAtMs: 0,
  maxDutyCycle: 0,
  txParamsTold: false,
})

const ANSWER_OF: Partial<Record<MacName, MacName>> = {
  LinkADRReq: 'LinkADRAns',
  DutyCycleReq: 'DutyCycleAns',
  RXParamSetupReq: 'RXParamSetupAns',
  DevStatusReq: 'DevStatusAns',
  NewChannelReq: 'NewChannelAns',
  RXTimingSetupReq: 'RXTimingSetupAns',
  TxParamSetupReq: 'TxParamSetupAns',
  DlChannelReq: 'DlChannelAns',
}

/** Handles the MAC commands of one uplink: answers its requests, applies its answers. */
export function hearCommands(served: ServedDevice, commands: readonly MacCommand[], facts: UplinkFacts): MacOutcome {
  const { radio } = served.session!
  const answers: MacCommand[] = []
  let status: MacOutcome['status']
  let mustAnswer = false
  let changed = false
  for (const { name, fields } of commands) {
    if (name === 'LinkCheckReq') {
      const margin = Math.max(0, Math.min(254, Math.round(facts.snrDb - requiredSnrDb(facts.sf))))
      answers.push({ name: 'LinkCheckAns', fields: { margin, gateways: facts.gateways } })
    } else if (name === 'DeviceTimeReq') {
      answers.push(deviceTimeAns(facts.atMs))
    } else if (name === 'DevStatusAns') {
      status = { battery: fields['battery']!, marginDb: fields['margin']! }
      served.asked.delete('DevStatusReq')
    }
    if (name === 'RXParamSetupAns' || name === 'RXTimingSetupAns' || name === 'DlChannelAns') mustAnswer = true
  }
  for (const [request, asked] of [...served.asked]) {
    const replies = commands.filter(({ name }) => name === ANSWER_OF[request])
    if (replies.length === 0) {
      if (!asked.sent) continue
      if (++asked.attempts < MAX_ASKED) continue
      served.asked.delete(request)
      // A status that is not answered is asked for again when the next is due.
      if (request !== 'DevStatusReq') radio.refused = [...new Set([...radio.refused, request])]
      changed = true
      continue
    }
    served.asked.delete(request)
    const agreed = replies.every(({ fields }) => Object.values(fields).every((flag) => flag === 1))
    if (agreed) applyAgreed(radio, asked.commands)
    else radio.refused = [...new Set([...radio.refused, request])]
    changed = true
    if (request === 'LinkADRReq') served.adr.reset()
  }
  return { answers, mustAnswer, changed, ...(status === undefined ? {} : { status }) }
}

function applyAgreed(radio: RadioState, commands: readonly MacCommand[]): void {
  for (const { name, fields } of commands) {
    switch (name) {
      case 'LinkADRReq':
        radio.dr = fields['dataRate']!
        radio.txPower = fields['txPower']!
        radio.nbTrans = Math.max(1, fields['nbTrans']!)
        if (fields['chMaskCntl'] === 7) radio.channels = [1]
        break
      case 'RXParamSetupReq':
        radio.rx2Dr = fields['rx2DataRate']!
        radio.rx1DrOffset = fields['rx1DrOffset']!
        radio.rx2Hz = fields['frequency']! * 100
        break
      case 'RXTimingSetupReq':
        radio.rx1Delay = Math.max(1, fields['delay']!)
        break
      case 'NewChannelReq':
        radio.channels = [...new Set([...radio.channels, fields['channel']!])]
        break
      case 'TxParamSetupReq':
        radio.dwell = fields['downlinkDwell'] === 1
        radio.txParamsTold = true
        break
      case 'DutyCycleReq':
        radio.maxDutyCycle = fields['maxDutyCycle']!
        break
    }
  }
}

/**
 * What should be asked of the device now, in at most `room` bytes. DevStatusReq goes first: at least one widespread
 * stack ignores it behind a LinkADRReq.
 */
export function wantedRequests(
  served: ServedDevice,
  wishes: NetworkWishes,
  facts: UplinkFacts,
  room: number,
): MacCommand[] {
  const { device, session } = served
  const { radio } = session!
  const out: MacCommand[] = []
  const add = (request: MacName, commands: readonly MacCommand[]) => {
    if (commands.length === 0 || radio.refused.includes(request)) return
    if (macLength([...out, ...commands]) > room) return
    out.push(...commands)
    const before = served.asked.get(request)
    served.asked.set(request, { commands, attempts: before?.attempts ?? 0, sent: false })
  }
  if (device.statusEveryMs > 0 && Math.abs(facts.atMs - radio.statusAskedAtMs) >= device.statusEveryMs) {
    add('DevStatusReq', [{ name: 'DevStatusReq', fields: {} }])
  }
  if (radio.rx1Delay !== wishes.rx1Delay) {
    add('RXTimingSetupReq', [{ name: 'RXTimingSetupReq', fields: { delay: wishes.rx1Delay } }])
  }
  if (radio.rx2Dr !== wishes.rx2Dr) {
    const frequency = device.region.rx2.frequencyHz / 100
    add('RXParamSetupReq', [
      { name: 'RXParamSetupReq', fields: { rx2DataRate: wishes.rx2Dr, rx1DrOffset: radio.rx1DrOffset, frequency } },
    ])
  }
  if (device.maxDutyCycle !== undefined && device.maxDutyCycle !== radio.maxDutyCycle) {
    add('DutyCycleReq', [{ name: 'DutyCycleReq', fields: { maxDutyCycle: device.maxDutyCycle } }])
  }
  add('TxParamSetupReq', txParams(device, radio))
  add('NewChannelReq', newChannels(device, radio))
  add('LinkADRReq', linkAdr(served, facts))
  return out
}

/** MaxEIRP by its code in TxParamSetupReq, dBm: LoRaWAN 1.0.4 section 5.8. */
const EIRP_CODES = [8, 10, 12, 13, 14, 16, 18, 20, 21, 24, 26, 27, 29, 30, 33, 36]

/** Said once where devices differ in what they start with: the regions with a dwell time limit that can be told. */
function txParams({ region }: LoraDevice, radio: RadioState): MacCommand[] {
  if (radio.txParamsTold || !region.dwellAtStart) return []
  const maxEirp = EIRP_CODES.indexOf(region.maxEirpDbm)
  return [{ name: 'TxParamSetupReq', fields: { maxEirp, uplinkDwell: 1, downlinkDwell: region.fixedPlan ? 0 : 1 } }]
}

/** Extra channels a device of a dynamic plan does not know yet; two a downlink is what FOpts has room for. */
function newChannels({ region, activation, adr }: LoraDevice, radio: RadioState): MacCommand[] {
  if (region.fixedPlan || activation.kind !== 'abp' || !adr) return []
  const missing = region.extraHz
    .map((hz, index) => ({ channel: region.channels.length + index, hz }))
    .filter(({ channel }) => !radio.channels.includes(channel))
  return missing.slice(0, 2).map(({ channel, hz }) => ({
    name: 'NewChannelReq',
    fields: { channel, frequency: hz / 100, minDataRate: 0, maxDataRate: 5 },
  }))
}

function linkAdr(served: ServedDevice, facts: UplinkFacts): MacCommand[] {
  const { device, session } = served
  const { radio } = session!
  const { region } = device
  const maskMissing = region.fixedPlan && radio.channels.length === 0
  const tuning = facts.adr && device.adr && served.adr.full
  if (!tuning && !maskMissing) return []
  const now = { dr: facts.dr, txPower: radio.txPower, nbTrans: radio.nbTrans }
  const wish = tuning ? chooseAdr(region, now, served.adr, facts.sf) : now
  const settled = wish.dr === facts.dr && wish.txPower === radio.txPower && wish.nbTrans === radio.nbTrans
  if (settled && !maskMissing) return []
  const base = { dataRate: wish.dr, txPower: wish.txPower, nbTrans: wish.nbTrans }
  return channelMasks(device, radio).map(([chMaskCntl, chMask]) => ({
    name: 'LinkADRReq',
    fields: { ...base, chMaskCntl, chMask },
  }))
}

/** `[ChMaskCntl, ChMask]` pairs that switch on what the device should use. */
function channelMasks({ region, subBand }: LoraDevice, radio: RadioState): [number, number][] {
  if (region.fixedPlan) {
    const [first] = subBandChannels(subBand)
    // 7: all 125 kHz channels off, the mask is for the 500 kHz ones; then the eight of the sub-band on.
    return [
      [7, 1 << (subBand - 1)],
      [Math.floor(first! / 16), 0xff << (first! % 16)],
    ]
  }
  let mask = 0
  for (let index = 0; index < region.channels.length; index++) mask |= 1 << index
  for (const channel of radio.channels) mask |= 1 << channel
  return [[0, mask]]
}

/** CFList of a join accept: the extra frequencies, or the mask of the sub-band (type 1). */
export function cfListOf({ region, subBand }: LoraDevice): Buffer | undefined {
  const list = Buffer.alloc(16)
  if (region.fixedPlan) {
    const [first] = subBandChannels(subBand)
    list.writeUInt16LE(0xff << (first! % 16), 2 * Math.floor(first! / 16))
    list.writeUInt16LE(1 << (subBand - 1), 8)
    list[15] = 1
    return list
  }
  if (region.extraHz.length === 0) return undefined
  for (const [index, hz] of region.extraHz.slice(0, 5).entries()) list.writeUIntLE(hz / 100, 3 * index, 3)
  return list
}

/** Numbers of the channels a CFList told the device of. */
export const cfListChannels = ({ region }: LoraDevice): number[] =>
  region.fixedPlan ? [] : region.extraHz.slice(0, 5).map((_, index) => region.channels.length + index)

/** Called when a downlink with these commands is on the air. */
export function requestsSent(served: ServedDevice, commands: readonly MacCommand[], atMs: number): void {
  for (const { name } of commands) {
    const asked = served.asked.get(name)
    if (asked !== undefined) asked.sent = true
    if (name === 'DevStatusReq' && served.session !== undefined) served.session.radio.statusAskedAtMs = atMs
  }
}
