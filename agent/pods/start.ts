import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import type { Log } from '../log.ts'
import { mapperStorage } from '../mappers/storage.ts'
import { pausesPod } from '../policy/pod-pause.ts'
import { ADMISSION_STORE, PodAdmission } from './admission.ts'
import { twinAccess, userOfLine } from './devices/access.ts'
import { PodDevices } from './devices/pod-devices.ts'
import { capacityRefusal, pressureRefusal } from './life/capacity.ts'
import { Housekeeping } from './life/housekeeping.ts'
import { PodKeeper } from './life/keeper.ts'
import { nodeFacts } from './life/node.ts'
import { podDisk } from './life/pod-disk.ts'
import { readSupplies } from './life/pressure.ts'
import type { PodsOptions } from './pods.ts'
import type { RuntimesByClass } from './runtimes/by-class.ts'
import { openRuntimes } from './runtimes/open.ts'
import type { PodRuntime } from './runtimes/runtime.ts'

/** Everything that runs pods, once there is one. */
export interface PodShop extends AsyncDisposable {
  readonly runtime: RuntimesByClass
  readonly housekeeping: Housekeeping
  /** Objects, the tether or the policy of the gateway have changed. */
  changed(): void
}

/** Opens it; nothing of pods is loaded before this is called. */
export async function startPods(options: PodsOptions): Promise<PodShop> {
  const { core, clock, log, folder, gateway } = options
  await using cleanup = new AsyncDisposableStack()
  const trouble = (error: SluiceError) => log('warn', error.message, { code: error.code })
  const runtime = cleanup.use(
    await openRuntimes({
      ...{ folder, clock, gateway, choice: options.choice },
      ...(options.cgroupRoot === undefined ? {} : { cgroupRoot: options.cgroupRoot }),
      onTrouble: trouble,
    }),
  )
  await importArchives(runtime, join(folder, 'import'), log)
  const folders = {
    disk: join(folder, 'volumes'),
    memory: existsSync('/dev/shm')
      ? join('/dev/shm', `sluice-pods-${process.getuid?.() ?? 0}`, gateway)
      : join(folder, 'volumes'),
    logs: join(folder, 'logs'),
  }
  const objects = () => core.objects.podObjects()
  const pods = () => objects().flatMap((one) => (one.kind === 'Pod' ? [one] : []))
  const isOver = (key: string, uid: string) =>
    ['Succeeded', 'Failed'].includes(core.pods?.get(key, uid)?.status.phase ?? '')
  const capacity = { machine: core.machine!, gateway }
  const admission: PodAdmission = new PodAdmission({
    storage: mapperStorage(core.store, ADMISSION_STORE),
    stage: () => core.podStage,
    limits: () => core.gatewaySpec?.pods,
    pods: () =>
      pods()
        .filter(({ key, object }) => !isOver(key, object.uid))
        .map(({ object }) => object),
    begun: (uid) => keeper.begun(uid),
    cannot: (pod, others) => {
      const none = runtime.refusal(pod)
      if (none !== undefined) return `RuntimeClassMissing: ${none}`
      return pressureRefusal(pod, housekeeping.board) ?? capacityRefusal(pod, others, capacity)
    },
  })
  const devices = cleanup.use(
    new PodDevices({
      folder: join(folder, 'twins'),
      access: twinAccess(core, clock, gateway),
      rules: { usedBy: (path) => userOfLine(core, path) },
      onTrouble: (error) => trouble(toSluiceError(error)),
    }),
  )
  await devices.follow(objects())
  const onEvent = core.notices.record.bind(core.notices)
  const keeper: PodKeeper = cleanup.use(
    new PodKeeper({
      ...{ runtime, clock, objects, folders, onEvent },
      runtimeOf: (pod) => runtime.of(pod),
      attach: (key, pod) => devices.attach(key, pod),
      board: core.pods!,
      leash: () => core.tether.leash,
      node: nodeFacts(gateway),
      refuse: (pod) => admission.refuse(pod),
      paused: (pod) => {
        const pause = core.podPause
        return pause !== undefined && pausesPod(pod, { pause: [...pause.importance] }) ? pause.why : undefined
      },
    }),
  )
  const housekeeping: Housekeeping = cleanup.use(
    new Housekeeping({
      ...{ clock, runtime, objects, onEvent },
      stores: () => [...new Set(runtime.all.map(({ images }) => images))],
      supplies: () => readSupplies(folder),
      disk: podDisk(folders),
      evict: (pod, why) => {
        admission.evict(pod, why)
        keeper.wake()
      },
      onPressure: () => core.listener?.statusChanged(),
    }),
  )
  const resources = cleanup.move()
  return {
    runtime,
    housekeeping,
    changed() {
      admission.forgetOthers()
      void devices.follow(objects()).catch((error: unknown) => trouble(toSluiceError(error)))
      keeper.wake()
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}

/** Images for gateways without a registry; an archive is removed once its image is in place. */
async function importArchives(runtime: PodRuntime, folder: string, log: Log): Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  for (const name of readdirSync(folder).filter((each) => /\.(tar|oci)$/.test(each))) {
    try {
      const images = await runtime.images.import(join(folder, name), undefined, AbortSignal.timeout(IMPORT_MS))
      rmSync(join(folder, name))
      log('info', `Imported ${images.flatMap((image) => image.names).join(', ')}`, { archive: name })
    } catch (thrown) {
      const { code, message, hint } = toSluiceError(thrown)
      log('warn', `${name}: ${message}`, { code, hint: hint ?? '' })
    }
  }
}

const IMPORT_MS = 600_000
