import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import type { DeviceModelSpec } from '../../api/resources.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import { givenType, placeType, textBytes } from '../generator/emit-names.ts'
import { type Generated, generate, hasSlots, modulesFor } from '../generator/generate.ts'
import { EMPTY_LOCK, formatLock, parseLock } from '../generator/lock.ts'
import type { BoardPlan } from '../generator/plan.ts'
import { type Board, boardNames, loadBoard } from '../tools/board.ts'
import type { ImageKind } from '../tools/board-files.ts'
import { buildFirmware, type FirmwareBuild } from '../tools/build.ts'
import { MANAGED_LINE_MODULES, MANAGED_MODULES } from '../tools/managed.ts'
import { explainFullDisk, readIfThere, writeWhole } from './files.ts'
import { LOCK_FILE, type Project } from './project.ts'
import { appTemplate } from './template.ts'

export interface MadeOptions {
  /** Another board than the project's, to try it. */
  readonly board?: string
  readonly reuse?: boolean
}

export interface Made {
  readonly project: Project
  readonly board: Board
  readonly generated: Generated
  readonly generatedFolder: string
}

/** The board a project names; an error says where it does. */
function boardOf({ board, boardAt }: Project): Board {
  try {
    return loadBoard(board)
  } catch (error) {
    if (!(error instanceof SluiceError) || error.code !== 'SLUICE_FW_BOARD_UNKNOWN') throw error
    const { code, message, hint } = error
    throw new SluiceError(code, message, { ...(hint === undefined ? {} : { hint }), field: 'board', position: boardAt })
  }
}

/** What a project's firmware is made of, without touching a file. Findings are about the model's document. */
export function plan(
  project: Project,
  model: { readonly name: string; readonly spec: DeviceModelSpec },
  options: MadeOptions = {},
): Made & { readonly findings: readonly Finding[] } {
  const board = options.board === undefined ? boardOf(project) : loadBoard(options.board)
  const managedOn = managementLine(project, board)
  const lockFile = join(project.folder, LOCK_FILE)
  const text = readIfThere(lockFile)
  const generated = generate({
    name: model.name,
    model: model.spec,
    board,
    lock: text === undefined ? EMPTY_LOCK : parseLock(text, lockFile),
    reuse: options.reuse ?? false,
    version: project.version,
    gateway: {
      device: project.name,
      namespace: project.namespace,
      port: project.port,
      ...project.line,
      unit: project.unit,
    },
    line: project.line,
    unit: project.unit,
    properties: project.properties,
    hooks: true,
    managed: isManaged(project, board),
    ...(managedOn === undefined ? {} : { managedOn }),
    watchdogMs: 2000,
  })
  const findings = [...generated.findings, ...capacity(generated.plan, board)]
  return { project, board, generated, generatedFolder: join(project.folder, 'generated'), findings }
}

/** Only a board with two slots can take an update. */
const isManaged = (project: Project, board: Board): boolean => project.update && hasSlots(board)

const modulesOf = (project: Project, board: Board): readonly string[] => {
  if (!isManaged(project, board)) return []
  return project.managedOn === undefined ? MANAGED_MODULES : MANAGED_LINE_MODULES
}

/** The line of its own on which a board is managed; SLUICE_FW_PROJECT_INVALID where it has none. */
function managementLine(project: Project, board: Board): Project['managedOn'] {
  const { managedOn } = project
  if (managedOn === undefined || !isManaged(project, board)) return undefined
  if (managedOn.uart < board.uarts.length) return managedOn
  const lines = board.uarts.length === 1 ? 'one line' : `lines 0 to ${board.uarts.length - 1}`
  throw new SluiceError(
    'SLUICE_FW_PROJECT_INVALID',
    `${project.file}: management.uart is ${managedOn.uart}, ${board.name} has ${lines}`,
    { field: 'management.uart', hint: 'Line 0 serves the registers. Leave management out: it is managed there, too.' },
  )
}

/** Writes what was planned: generated/ and the lock file anew, app/app.c only when there is none. */
export function writeGenerated({ project, generated, generatedFolder }: Made): void {
  writeWhole(join(project.folder, LOCK_FILE), formatLock(generated.lock))
  for (const [name, text] of generated.files) writeWhole(join(generatedFolder, name), text)
  const app = join(project.folder, 'app', 'app.c')
  if (existsSync(app)) return
  const properties = generated.plan.properties.map((each) => ({
    name: each.property.name,
    id: each.id,
    writable: each.writable,
    place: placeType(each),
    given: givenType(each),
    unit: each.property.unit,
  }))
  writeWhole(app, appTemplate(project.name, properties))
}

/** Compiles what was written. The application comes last, so that its stack is the one that counts. */
export async function build(
  made: Made,
  options: { readonly image?: ImageKind; readonly outDir?: string; readonly signal?: AbortSignal } = {},
): Promise<FirmwareBuild> {
  const { project, generated, generatedFolder } = made
  // Queues of lines that nobody opens would be the largest thing in the RAM of a board with five.
  const lines = 1 + Math.max(0, managementLine(project, made.board)?.uart ?? 0)
  const board = { ...made.board, uarts: made.board.uarts.slice(0, lines) }
  const image = options.image ?? 'standalone'
  const outDir = options.outDir ?? join(project.folder, 'build', board.name, image)
  try {
    return await buildFirmware({
      board,
      sources: [
        join(generatedFolder, 'properties.c'),
        join(generatedFolder, 'main.c'),
        join(project.folder, 'app', 'app.c'),
      ],
      modules: modulesFor(generated.plan, modulesOf(project, board)),
      outDir,
      image,
      budget: project.budget,
      cacheDir: process.env['SLUICE_FW_OBJECTS'] ?? join(project.folder, 'build', 'objects'),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    })
  } catch (error) {
    throw explainFullDisk(error, outDir)
  }
}

/** Bytes of a row of the register table and of a hook or two on a 32-bit processor, at least. */
const ROW_BYTES = 24
/** RAM that the core, its line and the least stack take; the link says it exactly. */
const CORE_RAM_BYTES = 2600

/** What no compiler is needed to see: more properties or longer texts than the board has memory for. */
function capacity(plan: BoardPlan, board: Board): Finding[] {
  const flashBytes = plan.properties.length * ROW_BYTES
  const ramBytes = CORE_RAM_BYTES + plan.properties.reduce((sum, each) => sum + bytesOf(each), 0)
  const carries = (one: Board): boolean =>
    one.soc.compiler === 'cc' || (flashBytes <= (one.layout.slotA?.size ?? one.flash.size) && ramBytes <= one.ram.size)
  if (carries(board)) return []
  const others = boardNames()
    .map(loadBoard)
    .filter((one) => one.soc.compiler !== 'cc' && carries(one))
    .map(({ name }) => name)
  return [
    {
      severity: 'error',
      code: 'SLUICE_FW_MODEL_INVALID',
      message: `'${board.name}' cannot carry this model: ${plan.properties.length} properties need at least ${flashBytes} bytes of flash and ${ramBytes} of RAM, it has ${board.layout.slotA?.size ?? board.flash.size} and ${board.ram.size}`,
      hint:
        others.length === 0
          ? 'No board here can: split the model, or shorten its texts.'
          : `These could: ${others.join(', ')}. Or shorten its texts.`,
      path: ['spec', 'properties'],
    },
  ]
}

function bytesOf(each: BoardPlan['properties'][number]): number {
  if (each.form.c === 'text' || each.form.c === 'bytes') return textBytes(each)
  return Math.max(1, 2 * each.registers)
}
