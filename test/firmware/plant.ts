import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { silentLog } from '../../agent/log.ts'
import { type RunningAgent, runAgent } from '../../agent/run.ts'
import type { Device, DeviceModel, FirmwareRollout } from '../../api/resources.ts'
import { requireProject } from '../../cli/fw/load.ts'
import { type SignedRelease, signProject } from '../../cli/fw/release.ts'
import { type CloudCore, runCloudCore } from '../../cloudcore/core.ts'
import { KubeClient } from '../../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../../cloudcore/kube/config.ts'
import { collectionPath, DEVICE_MODELS, DEVICES, FIRMWARE_ROLLOUTS, objectPath } from '../../cloudcore/kube/paths.ts'
import { writeGenerated } from '../../firmware/project/make.ts'
import { modelTemplate, projectTemplate } from '../../firmware/project/template.ts'
import { buildBootloader } from '../../firmware/tools/bootloader.ts'
import { newKeys, type PublicKey } from '../../firmware/tools/keys.ts'
import { type BoardBus, boardBus } from '../../hil/boards/bus.ts'
import type { BoardRig } from '../../hil/boards/rig.ts'
import { startBoard } from '../../hil/boards/start.ts'
import { preciseClock } from '../../mappers/modbus/precise-clock.ts'

const cacheDir = join(tmpdir(), `sluice-firmware-objects-${process.getuid?.() ?? 0}`)
// What one test compiled the next one does not compile again, in whatever folder its project lies.
process.env['SLUICE_FW_OBJECTS'] ??= cacheDir
export const GATEWAY = 'gw-1'
const NAME = 'greenhouse'

/** Where a board of several on a line keeps its unit: all run the same image, as a fleet does. In flash no slot uses. */
const UNIT_AT = 0x2180_0000

/**
 * A cloud core, an agent that joined it, and a board in an emulator on one of its serial lines; or several boards of the
 * kind `mps2-an385` on one, as units 1, 2, 3 and devices greenhouse-1, greenhouse-2, greenhouse-3.
 */
export class Plant implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'sluice-ota-'))
  readonly project = join(this.folder, NAME)
  readonly keys = join(this.folder, 'keys')
  readonly board: string
  #publicKey: PublicKey | undefined
  #cloud: CloudCore | undefined
  #kube: KubeClient | undefined
  agent: RunningAgent | undefined
  readonly rigs: BoardRig[] = []
  readonly #count: number
  #bus: BoardBus | undefined

  constructor(board: string, count = 1) {
    this.board = board
    this.#count = count
  }

  /** Names of the devices. */
  get names(): readonly string[] {
    return this.#count === 1 ? [NAME] : Array.from({ length: this.#count }, (_, index) => `${NAME}-${index + 1}`)
  }

  get cloudData(): string {
    return join(this.folder, 'cloud')
  }

  get rig(): BoardRig {
    const [rig] = this.rigs
    if (rig === undefined) throw new Error('the board is not there')
    return rig
  }

  get kube(): KubeClient {
    if (this.#kube === undefined) throw new Error('the cloud core is not there')
    return this.#kube
  }

  /** A project with the first version, a key, a bootloader that trusts it, and a board with both. */
  async begin(): Promise<void> {
    mkdirSync(this.project)
    writeFileSync(join(this.project, 'model.yaml'), modelTemplate(NAME))
    this.version('0.1.0')
    if (this.#count > 1) this.app((text) => text.replace('void app_setup(void) {}', UNIT_FROM_FLASH))
    this.#publicKey = (await newKeys(this.keys)).current
    const first = await this.sign()
    const boot = await buildBootloader({
      board: this.board,
      keys: [this.#publicKey],
      production: true,
      outDir: join(this.folder, 'boot'),
      cacheDir,
    })
    const image = first.images.find(({ slot }) => slot === 'A')
    const address = first.spec.images.find(({ slot }) => slot === 'A')?.slotAddress ?? 0
    const program = { address, bytes: image?.bytes ?? new Uint8Array() }
    for (let unit = 1; unit <= this.#count; unit++) {
      const own = { address: UNIT_AT, bytes: Uint8Array.of(unit) }
      const memory = this.#count === 1 ? [program] : [program, own]
      this.rigs.push(await startBoard({ build: boot, lines: [this.#count === 1 ? 'pty' : 'stream'], memory }))
    }
    if (this.#count > 1) this.#bus = boardBus(this.rigs, { baud: 115_200 }, preciseClock)
  }

  version(version: string): void {
    const text = projectTemplate(this.board)
      .replace('version: 0.1.0', `version: ${version}`)
      .replace('{baud: 115200}', `{baud: 115200, shared: ${this.#count > 1}}`)
    writeFileSync(join(this.project, 'sluice-fw.yaml'), text)
  }

  /** Text of app/app.c, to be changed. */
  app(change: (text: string) => string): void {
    writeGenerated(requireProject(this.project))
    const file = join(this.project, 'app', 'app.c')
    writeFileSync(file, change(readFileSync(file, 'utf8')))
  }

  sign(): Promise<SignedRelease> {
    return signProject(requireProject(this.project), { keys: this.keys }, AbortSignal.timeout(60_000))
  }

  async startCloud(): Promise<void> {
    this.#cloud = await runCloudCore({ dataDir: this.cloudData, hubPort: 0, apiPort: 0 })
    this.#kube = new KubeClient(loadKubeconfig(this.#cloud.info.kubeconfig))
  }

  async stopCloud(): Promise<void> {
    await this.#kube?.[Symbol.asyncDispose]()
    await this.#cloud?.[Symbol.asyncDispose]()
    this.#cloud = undefined
  }

  /** The model and the device as the generator gives them to a gateway, on the board's line. */
  async apply(port = this.#bus?.path ?? this.rig.lines[0]?.path): Promise<void> {
    const text = readFileSync(join(this.project, 'generated', 'gateway.yaml'), 'utf8')
    for (const document of parseAllDocuments(text)) {
      const object = document.toJS() as DeviceModel | Device
      object.metadata.namespace = 'default'
      if (object.kind === 'DeviceModel') await this.kube.create(collectionPath(DEVICE_MODELS, 'default'), object)
      else {
        for (const [index, name] of this.names.entries()) {
          const device = structuredClone(object as Device)
          const spec = {
            ...device.spec,
            nodeName: GATEWAY,
            poll: { every: '250ms' },
            modbus: { rtu: { port, baud: 115_200 }, unit: index + 1 },
          }
          const metadata = { ...device.metadata, name }
          await this.kube.create(collectionPath(DEVICES, 'default'), { ...device, metadata, spec })
        }
      }
    }
  }

  async startAgent(): Promise<void> {
    const token = join(this.folder, 'token')
    const joined = this.agent !== undefined
    if (!joined) {
      const made = await this.#cloud?.createToken({ gateway: GATEWAY })
      writeFileSync(token, made?.token ?? '', { mode: 0o600 })
    }
    this.agent = await runAgent(
      { dataDir: join(this.folder, 'agent'), ...(joined ? {} : { joinTokenFile: token }) },
      { log: silentLog },
    )
  }

  async stopAgent(): Promise<void> {
    await this.agent?.[Symbol.asyncDispose]()
  }

  /** The device's status, once `wants` holds. */
  async device(wants: (device: Device) => boolean, signal: AbortSignal, name = this.names[0]): Promise<Device> {
    for (;;) {
      const device = await this.kube.get<Device>(objectPath(DEVICES, name ?? NAME, 'default'), { signal })
      if (wants(device)) return device
      await pause(signal)
    }
  }

  async rollout(
    name: string,
    wants: (rollout: FirmwareRollout) => boolean,
    signal: AbortSignal,
  ): Promise<FirmwareRollout> {
    for (;;) {
      const rollout = await this.kube.get<FirmwareRollout>(objectPath(FIRMWARE_ROLLOUTS, name, 'default'), { signal })
      if (wants(rollout)) return rollout
      await pause(signal)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopAgent()
    await this.stopCloud()
    await this.#bus?.[Symbol.asyncDispose]()
    for (const rig of this.rigs) await rig[Symbol.asyncDispose]()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

const UNIT_FROM_FLASH = `#include "runtime.h"

void app_setup(void) {
  uint8_t unit;
  if (sl_hal_flash_read(0x${UNIT_AT.toString(16)}u, &unit, 1) && unit != 0xFF) sl_set_unit(unit);
}
`

const pause = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted()
    setTimeout(() => (signal.aborted ? reject(signal.reason) : resolve()), 100)
  })
