import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'

export interface HeardAs {
  readonly rssi?: number
  readonly snr?: number
  readonly datr?: string
  /** MHz. */
  readonly freq?: number
  readonly tmst?: number
}

/** What a packet forwarder was asked to send. */
export interface TxPacket {
  readonly imme: boolean
  readonly tmst?: number
  readonly freq: number
  readonly datr: string
  readonly powe: number
  readonly ipol: boolean
  readonly data: string
}

/** A gateway's packet forwarder (Semtech UDP, version 2) with two sockets, as the real one has. */
export class LoraForwarder implements AsyncDisposable {
  readonly eui: string
  readonly #up: Socket = createSocket('udp4')
  readonly #down: Socket = createSocket('udp4')
  readonly #port: number
  readonly #sent: TxPacket[] = []
  readonly #takers: ((packet: TxPacket) => void)[] = []
  #token = 1
  /** The error every TX_ACK carries from now on. */
  refuse: string | undefined

  private constructor(eui: string, port: number) {
    this.eui = eui
    this.#port = port
    this.#down.on('message', (message) => this.#message(message))
  }

  /** Opens the forwarder and waits until the server has acknowledged its first PULL_DATA. */
  static async open(eui: string, serverPort: number): Promise<LoraForwarder> {
    const forwarder = new LoraForwarder(eui, serverPort)
    const acknowledged = once(forwarder.#down, 'message')
    forwarder.#send(forwarder.#down, 2, Buffer.alloc(0))
    await acknowledged
    return forwarder
  }

  /** Reports a received frame; resolves when the server has acknowledged it. */
  async hear(
    phy: Uint8Array,
    { rssi = -60, snr = 9.5, datr = 'SF7BW125', freq = 868.1, tmst = 1_000_000 }: HeardAs = {},
  ): Promise<void> {
    const rxpk = [
      {
        tmst,
        chan: 0,
        rfch: 0,
        freq,
        stat: 1,
        modu: 'LORA',
        datr,
        codr: '4/5',
        lsnr: snr,
        rssi,
        size: phy.length,
        data: Buffer.from(phy).toString('base64'),
      },
    ]
    await this.raw(Buffer.from(JSON.stringify({ rxpk })))
  }

  /** Any body in a PUSH_DATA. */
  async raw(body: Buffer): Promise<void> {
    const acknowledged = once(this.#up, 'message')
    this.#send(this.#up, 0, body)
    await acknowledged
  }

  /** The next frame the server wants sent. */
  transmitted(): Promise<TxPacket> {
    const ready = this.#sent.shift()
    return ready === undefined ? new Promise((resolve) => void this.#takers.push(resolve)) : Promise.resolve(ready)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      [this.#up, this.#down].map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))),
    )
  }

  #send(socket: Socket, id: number, body: Buffer): void {
    const token = this.#token++
    const head = Buffer.concat([Buffer.from([2, token >> 8, token & 0xff, id]), Buffer.from(this.eui, 'hex')])
    socket.send(Buffer.concat([head, body]), this.#port, '127.0.0.1')
  }

  #message(message: Buffer): void {
    if (message[3] !== 3) return
    const { txpk } = JSON.parse(message.toString('utf8', 4)) as { txpk: TxPacket }
    const body = this.refuse === undefined ? '' : JSON.stringify({ txpk_ack: { error: this.refuse } })
    const head = Buffer.concat([Buffer.from([2, message[1]!, message[2]!, 5]), Buffer.from(this.eui, 'hex')])
    this.#down.send(Buffer.concat([head, Buffer.from(body)]), this.#port, '127.0.0.1')
    const taker = this.#takers.shift()
    if (taker === undefined) this.#sent.push(txpk)
    else taker(txpk)
  }
}
