import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keptPort } from '../../hil/kept-port.ts'
import { buildNodeRed } from '../../node-red/build.ts'
import { type Folder, temporaryFolder } from '../harness/folder.ts'
import { type Plant, startPlant } from './plant.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

let folder: Folder
let plant: Plant
let port: number
let said = ''
let child: ReturnType<typeof spawn>
let data: string

/** The command with nothing on its PATH but what the test puts there. */
function sluice(args: readonly string[], path: string) {
  const started = spawn(process.execPath, [join(root, 'cli/main.ts'), ...args], {
    cwd: folder.path,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: path, NO_COLOR: '1' },
  })
  for (const stream of [started.stdout!, started.stderr!]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
  }
  return started
}

beforeAll(async () => {
  await buildNodeRed(join(root, 'node-red/dist'))
  folder = temporaryFolder('nodered')
  data = join(folder.path, 'data')
  const programs = join(folder.path, 'bin')
  for (const path of [data, programs]) mkdirSync(path)
  plant = await startPlant(data)
  symlinkSync(join(root, 'node_modules/node-red/red.js'), join(programs, 'node-red'))
  port = await keptPort()
  child = sluice(['nodered', '--data', data, '--port', String(port)], programs)
  const up = new Promise<void>((resolve) => {
    child.stdout!.on('data', () => /Started flows/.test(said) && resolve())
  })
  await Promise.race([up, once(child, 'exit').then(() => Promise.reject(new Error(said)))])
}, 90_000)
afterAll(async () => {
  if (child?.exitCode === null) {
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  await plant?.[Symbol.asyncDispose]()
  folder?.[Symbol.dispose]()
})

const signIn = (password: string) =>
  fetch(`http://127.0.0.1:${port}/auth/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      client_id: 'node-red-admin',
      grant_type: 'password',
      scope: '*',
      username: 'admin',
      password,
    }),
  })

describe('sluice nodered', { timeout: 30_000 }, () => {
  it('lets in who knows the token of the agent, and nobody else', async () => {
    expect((await fetch(`http://127.0.0.1:${port}/flows`)).status).toBe(401)
    expect((await signIn('wrong')).ok).toBe(false)
    const answer = await signIn(readFileSync(join(data, 'local-api.token'), 'utf8'))
    expect(answer.status).toBe(200)
    const { access_token: token } = (await answer.json()) as { access_token: string }
    const headers = { authorization: `Bearer ${token}`, accept: 'application/json' }
    const nodes = (await (await fetch(`http://127.0.0.1:${port}/nodes`, { headers })).json()) as {
      types: string[]
      err?: string
    }[]
    const ours = nodes.filter(({ types }) => types.some((type) => type.startsWith('sluice-')))
    expect(ours).toHaveLength(8)
    expect(ours.flatMap(({ err }) => err ?? [])).toEqual([])
    const catalogue = await fetch(`http://127.0.0.1:${port}/sluice/sluice-here/catalogue`, { headers })
    expect(await catalogue.json()).toMatchObject({ devices: [{ label: 'drive-1' }], gateways: ['gw-1'] })
    expect((await fetch(`http://127.0.0.1:${port}/sluice/sluice-here/catalogue`)).status).toBe(401)
  })

  it('keeps its secrets for their owner alone, and out of sight', () => {
    for (const file of ['credential.key', 'settings.cjs', 'flows.json']) {
      expect(statSync(join(data, 'nodered', file)).mode & 0o077).toBe(0)
    }
    expect(said).not.toContain(readFileSync(join(data, 'local-api.token'), 'utf8').trim())
  })

  it('ends with the command', async () => {
    child.kill('SIGTERM')
    await once(child, 'exit')
    await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow()
  })

  it('says how to get Node-RED where there is none, and puts the nodes into somebody’s own', async () => {
    said = ''
    const missing = sluice(['nodered', '--data', join(folder.path, 'other')], '/nonexistent')
    expect((await once(missing, 'exit'))[0]).not.toBe(0)
    expect(said).toMatch(/Node-RED is not installed[\s\S]*--install/)
    const own = join(folder.path, 'own')
    mkdirSync(own)
    const into = sluice(['nodered', '--into', own], '/nonexistent')
    expect((await once(into, 'exit'))[0]).toBe(0)
    expect(existsSync(join(own, 'node_modules/@sluice/node-red-twins/dist/sluice-twin-in.js'))).toBe(true)
    expect(JSON.parse(readFileSync(join(own, 'package.json'), 'utf8')).dependencies).toHaveProperty(
      '@sluice/node-red-twins',
    )
  })
})
