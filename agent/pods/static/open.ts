import type { Clock } from '../../../api/clock.ts'
import type { AgentCore } from '../../core.ts'
import type { Log } from '../../log.ts'
import { mapperStorage } from '../../mappers/storage.ts'
import { StaticFolder } from './folder.ts'

/** Where the agent keeps what was in force of each file. */
const STATIC_STORE = 'static-pods'

export interface StaticsOptions {
  readonly core: AgentCore
  readonly clock: Clock
  readonly log: Log
  readonly gateway: string
  readonly folder: string
}

/** Has the pods of a folder run; resolves when those that are there are known. */
export async function openStatics({ core, clock, log, gateway, folder }: StaticsOptions): Promise<AsyncDisposable> {
  const statics = new StaticFolder({
    ...{ folder, clock, gateway, storage: mapperStorage(core.store, STATIC_STORE) },
    onPods: (pods) => core.runStatics(pods),
    onTrouble: ({ code, message, hint = '' }) => {
      log('error', message, { code, hint })
      core.notices.record({
        about: 'gateway',
        type: 'Warning',
        reason: 'StaticPodInvalid',
        message: `${message} ${hint}`,
      })
    },
  })
  await statics.open()
  return statics
}
