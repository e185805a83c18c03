import {
  buildData,
  buildJoinRequest,
  cryptPayload,
  type DataFrame,
  dataMic,
  openJoinAccept,
  parseFrame,
} from '../mappers/lora/codec.ts'
import { deriveSessionKeys, type LoraKey, type SessionKeys } from '../mappers/lora/keys.ts'
import { buildMacCommands, type MacCommand, parseMacCommands } from '../mappers/lora/mac-commands.ts'

export interface LoraDeviceOptions {
  readonly devEui: string
  readonly joinEui?: string
  readonly appKey: LoraKey
}

/** What a device got from a downlink. */
export interface Received {
  readonly port: number | undefined
  readonly payload: Buffer
  readonly ack: boolean
  readonly confirmed: boolean
  readonly pending: boolean
  readonly commands: readonly MacCommand[]
}

/** An emulated LoRaWAN 1.0.x end device: joins, counts, answers MAC commands, acknowledges. Radio not included. */
export class LoraDevice {
  readonly devEui: string
  readonly #options: LoraDeviceOptions
  #devNonce: number
  #keys: SessionKeys | undefined
  #devAddr = 0
  #fUp = 0
  #fDown = -1
  #owesAck = false
  #answers: MacCommand[] = []
  /** Set by LinkADRReq. */
  dataRate: number | undefined
  battery = 180

  constructor(options: LoraDeviceOptions, firstDevNonce = 1) {
    this.devEui = options.devEui
    this.#options = options
    this.#devNonce = firstDevNonce
  }

  get joined(): boolean {
    return this.#keys !== undefined
  }

  /** Its session keys, once it has joined. */
  get keys(): SessionKeys | undefined {
    return this.#keys
  }

  get devAddr(): number {
    return this.#devAddr
  }

  joinRequest(): Buffer {
    const { devEui, joinEui = '0'.repeat(16), appKey } = this.#options
    return buildJoinRequest({ devEui, joinEui, devNonce: this.#devNonce++ & 0xffff }, appKey)
  }

  /** Activation by personalisation. */
  personalise(devAddr: number, keys: SessionKeys): void {
    this.#devAddr = devAddr
    this.#keys = keys
    this.#fUp = 0
    this.#fDown = -1
  }

  /** Whether the frame was a join accept for this device. */
  accept(phy: Uint8Array): boolean {
    const frame = parseFrame(phy)
    if (frame.kind !== 'joinAccept') return false
    const { appKey } = this.#options
    const accept = openJoinAccept(frame.sealed, appKey)
    if (accept === undefined) return false
    this.personalise(
      accept.devAddr,
      deriveSessionKeys(appKey, accept.joinNonce, accept.netId, (this.#devNonce - 1) & 0xffff),
    )
    return true
  }

  uplink(
    port: number | undefined,
    payload: Uint8Array = new Uint8Array(0),
    options: { readonly confirmed?: boolean; readonly commands?: readonly MacCommand[]; readonly adr?: boolean } = {},
  ): Buffer {
    const keys = this.#keys!
    const phy = buildData(
      {
        up: true,
        confirmed: options.confirmed ?? false,
        devAddr: this.#devAddr,
        adr: options.adr ?? false,
        ack: this.#owesAck,
        fCnt: this.#fUp++,
        fOpts: buildMacCommands([...this.#answers, ...(options.commands ?? [])]),
        ...(port === undefined ? {} : { port, payload }),
      },
      keys.nwkSKey,
      keys.appSKey,
    )
    this.#owesAck = false
    this.#answers = []
    return phy
  }

  /** What the device makes of a downlink; undefined when it is for another, not authentic or old. */
  receive(phy: Uint8Array): Received | undefined {
    const frame = parseFrame(phy)
    if (frame.kind !== 'data' || frame.up || frame.devAddr !== this.#devAddr || this.#keys === undefined)
      return undefined
    const fCnt = frame.fCnt16
    if (fCnt <= this.#fDown) return undefined
    const { nwkSKey, appSKey } = this.#keys
    if (dataMic(nwkSKey, phy, false, frame.devAddr, fCnt) !== frame.mic) return undefined
    this.#fDown = fCnt
    this.#owesAck = frame.confirmed
    const clear = cryptPayload(frame.port === 0 ? nwkSKey : appSKey, frame.payload, false, frame.devAddr, fCnt)
    const { commands } = parseMacCommands(frame.port === 0 ? clear : frame.fOpts, false)
    for (const command of commands) this.#answer(command)
    return this.#received(frame, clear, commands)
  }

  #received(frame: DataFrame, clear: Buffer, commands: readonly MacCommand[]): Received {
    return {
      port: frame.port,
      payload: frame.port === 0 ? Buffer.alloc(0) : clear,
      ack: frame.ack,
      confirmed: frame.confirmed,
      pending: frame.pending,
      commands,
    }
  }

  #answer({ name, fields }: MacCommand): void {
    const ok = (answer: MacCommand['name'], flags: readonly string[] = []) =>
      this.#answers.push({ name: answer, fields: Object.fromEntries(flags.map((flag) => [flag, 1])) })
    switch (name) {
      case 'DevStatusReq':
        this.#answers.push({ name: 'DevStatusAns', fields: { battery: this.battery, margin: 8 } })
        break
      case 'LinkADRReq':
        this.dataRate = fields['dataRate']
        ok('LinkADRAns', ['chMaskAck', 'dataRateAck', 'powerAck'])
        break
      case 'RXParamSetupReq':
        ok('RXParamSetupAns', ['channelAck', 'rx2Ack', 'rx1Ack'])
        break
      case 'RXTimingSetupReq':
        ok('RXTimingSetupAns')
        break
      case 'NewChannelReq':
        ok('NewChannelAns', ['frequencyAck', 'dataRateAck'])
        break
      case 'TxParamSetupReq':
        ok('TxParamSetupAns')
        break
      case 'DutyCycleReq':
        ok('DutyCycleAns')
        break
    }
  }
}
