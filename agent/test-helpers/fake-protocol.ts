import type {
  DeviceBinding,
  Mapper,
  MapperHost,
  Protocol,
  Reading,
  WriteCommand,
  WriteOutcome,
} from '../../mappers/sdk/mapper.ts'

/** A protocol without devices: tests say what is read and how writes end. */
export class FakeProtocol implements Mapper {
  host: MapperHost | undefined
  bindings: readonly DeviceBinding[] = []
  configured = 0
  readonly writes: {
    readonly command: WriteCommand
    readonly signal: AbortSignal
    end(outcome: WriteOutcome): void
  }[] = []
  /** Ends writes at once when set. */
  answer: ((command: WriteCommand) => WriteOutcome) | undefined
  /** Ends writes when it likes, when set. */
  answerLater: ((end: (outcome: WriteOutcome) => void) => void) | undefined

  get protocol(): Protocol {
    const unused = async () => {
      throw new Error('not used by tests')
    }
    return {
      name: 'fake',
      listens: ({ fake }) => fake === 'heard',
      schema: unused,
      lint: unused,
      explain: unused,
      load: async () => (host) => {
        this.host = host
        return this
      },
    }
  }

  configure(devices: readonly DeviceBinding[]): void {
    this.bindings = devices
    this.configured++
  }

  write(command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    return new Promise((resolve) => {
      this.writes.push({ command, signal, end: resolve })
      if (this.answer !== undefined) resolve(this.answer(command))
      this.answerLater?.(resolve)
    })
  }

  read(...batch: readonly Reading[]): void {
    this.host!.readings(batch)
  }

  links() {
    return []
  }

  explain() {
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
