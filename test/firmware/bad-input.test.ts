import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EXIT } from '../../cli/verb.ts'
import { lacks } from '../../hil/boards/test-boards.test-helper.ts'
import { runSluice, startSluice } from '../cli/run-sluice.ts'
import { canMount, smallDisk } from '../harness/small-disk.ts'

/**
 * What a person gets wrong before a board is touched: one error each, with a way on. A wrong key, an interrupted upload and
 * a wrong board are in flash.test.ts, a card that is pulled half-way in test/flash.
 */
describe('sluice fw', { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-fw-bad-'))
  const project = join(folder, 'greenhouse')
  const fw = (...argv: readonly string[]) => runSluice('fw', ...argv)
  /** One error with its code, and what to do about it. */
  const oneError = (stderr: string, code: string, hint: string) => {
    expect(stderr.match(/error SLUICE_/g)).toHaveLength(1)
    expect(stderr).toContain(`error ${code}:`)
    expect(stderr).toMatch(/hint: \S/)
    expect(stderr).toContain(hint)
  }

  beforeAll(async () => {
    expect(await fw('init', project, '--board', 'host')).toMatchObject({ code: EXIT.ok })
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('of an unknown board lists those there are', async () => {
    for (const argv of [
      ['init', join(folder, 'x'), '--board', 'toaster'],
      ['build', project, '--board', 'toaster'],
    ]) {
      const { code, stderr } = await fw(...argv)
      expect(code).toBe(EXIT.usage)
      oneError(stderr, 'SLUICE_FW_BOARD_UNKNOWN', 'microbit, mps2-an385')
    }
  })

  it('of an unknown board in the file of the project says where it stands', async () => {
    const own = join(folder, 'toaster')
    expect(await fw('init', own, '--board', 'host')).toMatchObject({ code: EXIT.ok })
    const file = join(own, 'sluice-fw.yaml')
    writeFileSync(file, `# A comment.\n${readFileSync(file, 'utf8').replace(/^board: .*$/m, 'board: toaster')}`)
    const { code, stderr } = await fw('build', own)
    expect(code).toBe(EXIT.usage)
    oneError(stderr, 'SLUICE_FW_BOARD_UNKNOWN', 'sluice-fw.yaml:2:8')
    expect(stderr).toContain('field: board')
  })

  it('of a file that is no image names the file', async () => {
    const file = join(folder, 'notes.img')
    writeFileSync(file, 'notes about this and that, and more than a header is long')
    const { code, stderr } = await fw('flash', '--image', file)
    expect(code).not.toBe(EXIT.ok)
    oneError(stderr, 'SLUICE_FW_IMAGE', 'notes.img: this is no MCUboot image')
  })

  it.each([
    ['rp2040', 'gcc-arm-none-eabi'],
    ['host', 'gcc'],
  ])('without a compiler for %s names the Debian package, %s', async (board, name) => {
    const empty = join(folder, 'empty')
    mkdirSync(empty, { recursive: true })
    const run = await runSluiceWith({ PATH: empty }, 'fw', 'build', project, '--board', board)
    expect(run.code).toBe(EXIT.missing)
    oneError(run.stderr, 'SLUICE_FW_TOOLCHAIN_MISSING', `apt-get install ${name}`)
  })

  it('of a model with more registers than Modbus has says which property is one too many', async () => {
    const large = join(folder, 'large')
    expect(await fw('init', large, '--board', 'rp2040')).toMatchObject({ code: EXIT.ok })
    const lines = Array.from({ length: 600 }, (_, at) => `    - {name: t${at}, type: string}\n`).join('')
    const model = readFileSync(join(large, 'model.yaml'), 'utf8')
    writeFileSync(join(large, 'model.yaml'), `${model.replace('  properties:\n', `  properties:\n${lines}`)}`)
    for (const board of ['microbit', 'stm32vldiscovery']) {
      const { code, stderr } = await fw('build', large, '--board', board)
      expect(code).toBe(EXIT.usage)
      oneError(stderr, 'SLUICE_FW_MODEL_INVALID', 'sluice fw validate')
      expect(stderr).toMatch(/model\.yaml:\d+:\d+/)
    }
  })

  it('with a key that others can read, that is none, or that is not there does not sign', async () => {
    const keys = join(folder, 'keys')
    const sign = () => fw('sign', project, '--keys', keys)
    const none = await sign()
    expect(none.code).toBe(EXIT.usage)
    oneError(none.stderr, 'SLUICE_FW_KEY', 'sluice fw key new')
    await fw('key', 'new', keys)
    chmodSync(join(keys, 'current.pem'), 0o644)
    const open = await sign()
    expect(open.code).toBe(EXIT.refused)
    oneError(open.stderr, 'SLUICE_FW_KEY_MODE', 'chmod 600')
    writeFileSync(join(keys, 'current.pem'), 'my secret words')
    chmodSync(join(keys, 'current.pem'), 0o600)
    const damaged = await sign()
    expect(damaged.code).toBe(EXIT.usage)
    oneError(damaged.stderr, 'SLUICE_FW_KEY', 'no Ed25519 key')
    expect(damaged.stderr).not.toContain('secret words')
  })

  it.skipIf(!canMount || lacks('cc'))(
    'on a full disk says so, loses nothing, and goes on when there is room',
    async () => {
      using disk = smallDisk(join(folder, 'disk'), 8)
      const own = join(disk.path, 'greenhouse')
      expect(await fw('init', own, '--board', 'host')).toMatchObject({ code: EXIT.ok })
      const app = readFileSync(join(own, 'app', 'app.c'), 'utf8')
      const lock = readFileSync(join(own, 'firmware.lock.yaml'), 'utf8')
      const model = readFileSync(join(own, 'model.yaml'), 'utf8')
      writeFileSync(
        join(own, 'model.yaml'),
        model.replace('  properties:\n', '  properties:\n    - {name: more, type: int}\n'),
      )
      disk.fill()
      for (const argv of [
        ['gen', own],
        ['build', own],
      ]) {
        const { code, stderr } = await fw(...argv)
        expect(code).toBe(EXIT.failure)
        oneError(stderr, 'SLUICE_FW_FILE', 'full')
      }
      const key = await fw('key', 'new', join(disk.path, 'keys'))
      expect(key.code).not.toBe(EXIT.ok)
      oneError(key.stderr, 'SLUICE_FW_KEY', 'full')
      expect(readFileSync(join(own, 'app', 'app.c'), 'utf8')).toBe(app)
      expect(readFileSync(join(own, 'firmware.lock.yaml'), 'utf8')).toBe(lock)
      disk.free()
      expect(await fw('build', own)).toMatchObject({ code: EXIT.ok })
      expect(readFileSync(join(own, 'generated', 'properties.h'), 'utf8')).toContain('more')
    },
  )
})

/** With a few variables of its own, and Node by its path. */
async function runSluiceWith(env: Record<string, string>, ...argv: readonly string[]) {
  const run = startSluice(argv, { env })
  run.child.stdin?.end()
  return await run.finished
}
