import { existsSync } from 'node:fs'
import type { ClientOptions, Client as GrpcClient, ServiceError } from '@grpc/grpc-js'
import { SluiceError } from '../../../../api/errors.ts'
import type { Method } from './cri.ts'
import type { Fields, Given, Taken } from './wire.ts'

/** Longer than any call that does not wait for somebody else. */
const CALL_MS = 120_000
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024

/** What is asked for besides the message. */
export interface CallOptions {
  readonly signal: AbortSignal
  /** Default two minutes. */
  readonly timeoutMs?: number
}

/** An error that containerd answered with, before somebody who knows what was asked gives it a code of ours. */
export class Refusal extends Error {
  readonly status: 'notFound' | 'exists' | 'unavailable' | 'failed'

  constructor(status: Refusal['status'], message: string, cause: unknown) {
    super(message, { cause })
    this.status = status
  }
}

export const isGone = (error: unknown): boolean => error instanceof Refusal && error.status === 'notFound'

/** gRPC over a Unix socket. Connects when it is first used, and again whenever the other side comes back. */
export class Channel implements Disposable {
  readonly socket: string
  readonly #client: GrpcClient
  readonly #metadata: (lease: string | undefined) => InstanceType<typeof import('@grpc/grpc-js').Metadata>

  private constructor(socket: string, grpc: typeof import('@grpc/grpc-js'), namespace: string) {
    this.socket = socket
    const options: ClientOptions = {
      // Go's servers refuse the path of the socket as a name of a host.
      'grpc.default_authority': 'localhost',
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      'grpc.initial_reconnect_backoff_ms': 50,
      'grpc.max_reconnect_backoff_ms': 1000,
      'grpc.enable_channelz': 0,
      'grpc.service_config_disable_resolution': 1,
    }
    this.#client = new grpc.Client(`unix:${socket}`, grpc.credentials.createInsecure(), options)
    this.#metadata = (lease) => {
      const metadata = new grpc.Metadata()
      metadata.set('containerd-namespace', namespace)
      if (lease !== undefined) metadata.set('containerd-lease', lease)
      return metadata
    }
  }

  static async open(socket: string, namespace: string): Promise<Channel> {
    return new Channel(socket, await import('@grpc/grpc-js'), namespace)
  }

  /** Rejects with a `Refusal`, or with the signal's reason. */
  call<In extends Fields, Out extends Fields>(
    { path, request, response }: Method<In, Out>,
    message: Given<In>,
    { signal, timeoutMs = CALL_MS }: CallOptions,
    lease?: string,
  ): Promise<Taken<Out>> {
    signal.throwIfAborted()
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        path,
        (given: Given<In>) => request.encode(given),
        (bytes: Buffer) => response.decode(bytes),
        message,
        this.#metadata(lease),
        { deadline: Date.now() + timeoutMs },
        (error, answer) => {
          signal.removeEventListener('abort', abort)
          if (answer !== undefined) resolve(answer)
          else if (signal.aborted) reject(signal.reason)
          else reject(this.#refusal(error))
        },
      )
      const abort = () => call.cancel()
      signal.addEventListener('abort', abort, { once: true })
    })
  }

  /** Messages as they come, until the other side or the signal ends it. */
  async *listen<In extends Fields, Out extends Fields>(
    { path, request, response }: Method<In, Out>,
    message: Given<In>,
    signal: AbortSignal,
  ): AsyncGenerator<Taken<Out>> {
    const stream = this.#client.makeServerStreamRequest(
      path,
      (given: Given<In>) => request.encode(given),
      (bytes: Buffer) => response.decode(bytes),
      message,
      this.#metadata(undefined),
    )
    const abort = () => stream.cancel()
    signal.addEventListener('abort', abort, { once: true })
    try {
      for await (const answer of stream) yield answer as Taken<Out>
    } catch (error) {
      if (!signal.aborted) throw this.#refusal(error as ServiceError)
    } finally {
      signal.removeEventListener('abort', abort)
      stream.cancel()
    }
  }

  /** A stream both ways: every message that `messages` gives is sent when the one before was answered. */
  async converse<In extends Fields, Out extends Fields>(
    { path, request, response }: Method<In, Out>,
    messages: AsyncIterable<Given<In>>,
    signal: AbortSignal,
    lease: string,
  ): Promise<Taken<Out> | undefined> {
    const stream = this.#client.makeBidiStreamRequest(
      path,
      (given: Given<In>) => request.encode(given),
      (bytes: Buffer) => response.decode(bytes),
      this.#metadata(lease),
    )
    const abort = () => stream.cancel()
    signal.addEventListener('abort', abort, { once: true })
    const answers = stream[Symbol.asyncIterator]()
    let last: Taken<Out> | undefined
    try {
      for await (const message of messages) {
        stream.write(message)
        const { value, done } = await answers.next()
        if (done === true) return last
        last = value as Taken<Out>
      }
      stream.end()
      return last
    } catch (error) {
      if (signal.aborted) throw signal.reason
      throw error instanceof Error && 'code' in error && typeof error.code === 'number'
        ? this.#refusal(error as ServiceError)
        : error
    } finally {
      signal.removeEventListener('abort', abort)
      stream.cancel()
    }
  }

  [Symbol.dispose](): void {
    this.#client.close()
  }

  #refusal(error: ServiceError | null): Refusal {
    return refusal(error?.code ?? 2, error?.details ?? '', error)
  }
}

/** What gRPC's status and its words say. */
export function refusal(code: number, words: string, cause: unknown): Refusal {
  const message = words.replaceAll(/[\r\n]+/g, ' ').slice(0, 1024)
  return new Refusal(STATUSES[code] ?? 'failed', message === '' ? 'no reason was given' : message, cause)
}

/** Numbers of gRPC's statuses that are told apart here. */
const STATUSES: Readonly<Record<number, Refusal['status']>> = { 5: 'notFound', 6: 'exists', 14: 'unavailable' }

/** The words for a daemon that does not answer. */
export function down(socket: string, cause: unknown): SluiceError {
  if (!existsSync(socket)) {
    return new SluiceError('SLUICE_POD_RUNTIME_MISSING', `containerd is not here: there is no ${socket}`, {
      hint: 'Install and start it: apt-get install containerd runc containernetworking-plugins; or give its socket: --pods containerd=/path/to.sock.',
      cause,
    })
  }
  return new SluiceError('SLUICE_POD_RUNTIME_DOWN', `containerd does not answer at ${socket}`, {
    hint: 'Look at it: systemctl status containerd. What runs goes on meanwhile.',
    cause,
  })
}
