import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { steps } from './conversation.ts'
import type { TestServer } from './test-server.ts'
import { startTestServer } from './test-server.ts'

const run = promisify(execFile)
const missing = spawnSync('kubectl', ['version', '--client']).error !== undefined

/** A definition to play with: the one of the golden conversation. */
const definition = steps.find((step) => step.id === 'crd-create')?.body

// A machine without kubectl may skip this; a CI run without it has to fail and say so.
describe.skipIf(missing && process.env['CI'] === undefined)('kubectl works against the embedded API', () => {
  let server: TestServer

  beforeAll(async () => {
    server = await startTestServer()
    await kubectl('create', '-f', file('crd.json', JSON.stringify(definition)))
    await kubectl('wait', '--for=condition=Established', 'crd/widgets.golden.example.dev', '--timeout=10s')
  })

  afterAll(async () => {
    await server[Symbol.asyncDispose]()
  })

  const env = (extra: Record<string, string> = {}) => ({
    ...process.env,
    KUBECONFIG: server.kubeconfig,
    HOME: server.dataDir,
    ...extra,
  })

  async function kubectl(...args: readonly string[]): Promise<string> {
    const { stdout, stderr } = await run('kubectl', args, { env: env(), timeout: 15_000 })
    return stdout + stderr
  }

  function file(name: string, text: string): string {
    const path = join(server.dataDir, name)
    writeFileSync(path, text)
    return path
  }

  const widget = (name: string, spec: string) =>
    file(
      `${name}.yaml`,
      `apiVersion: golden.example.dev/v1\nkind: Widget\nmetadata: {name: ${name}, namespace: default}\nspec: ${spec}\n`,
    )

  it('lists what the server has', async () => {
    expect(await kubectl('api-resources')).toMatch(/widgets\s+wg\s+golden.example.dev\/v1\s+true\s+Widget/)
    expect(await kubectl('api-versions')).toContain('coordination.k8s.io/v1\n')
    expect(await kubectl('version')).toContain('Server Version: v1.32.0')
    expect(await kubectl('get', 'ns')).toMatch(/default\s+Active/)
  })

  it('explains built-in and custom kinds', async () => {
    expect(await kubectl('explain', 'widget.spec')).toMatch(/size\s+<integer> -required-/)
    expect(await kubectl('explain', 'pod.spec.containers.image')).toContain('FIELD: image <string>')
    expect(await kubectl('explain', 'node.metadata.labels')).toContain('<map[string]string>')
  })

  it('applies on the client, changes only what changed, and says so', async () => {
    expect(await kubectl('apply', '-f', widget('one', '{size: 3}'))).toContain('one created')
    expect(await kubectl('apply', '-f', widget('one', '{size: 3}'))).toContain('one unchanged')
    expect(await kubectl('apply', '-f', widget('one', '{size: 4, note: hello}'))).toContain('one configured')
    expect(await kubectl('apply', '-f', widget('one', '{size: 4}'))).toContain('one configured')
    expect(await kubectl('get', 'wg', 'one', '-o', 'jsonpath={.spec}')).toBe('{"color":"red","size":4}')
  })

  it('applies on the server, and names the owner in a conflict', async () => {
    expect(
      await kubectl('apply', '--server-side', '--field-manager=alice', '-f', widget('two', '{size: 2}')),
    ).toContain('serverside-applied')
    await expect(
      kubectl('apply', '--server-side', '--field-manager=bob', '-f', widget('two', '{size: 3}')),
    ).rejects.toThrow(/conflict with "alice"/)
    await kubectl(
      'apply',
      '--server-side',
      '--field-manager=bob',
      '--force-conflicts',
      '-f',
      widget('two', '{size: 3}'),
    )
    expect(await kubectl('get', 'wg', 'two', '-o', 'jsonpath={.spec.size}')).toBe('3')
  })

  it('takes over from client-side to server-side apply', async () => {
    await kubectl('apply', '-f', widget('moved', '{size: 2, note: x}'))
    await kubectl('apply', '--server-side', '-f', widget('moved', '{size: 2}'))
    expect(await kubectl('get', 'wg', 'moved', '-o', 'jsonpath={.spec}')).toBe('{"color":"red","size":2}')
  })

  it('refuses an unknown field and an invalid value, and says where', async () => {
    await expect(kubectl('apply', '-f', widget('bad', '{size: 2, sise: 3}'))).rejects.toThrow(
      /unknown field "spec.sise"/,
    )
    await expect(kubectl('apply', '-f', widget('bad', '{size: 200}'))).rejects.toThrow(
      /spec.size in body should be less than or equal to 100/,
    )
  })

  it('gets, describes, labels, annotates, patches and edits', async () => {
    await kubectl('apply', '-f', widget('three', '{size: 4}'))
    await kubectl('label', 'wg', 'three', 'tier=field')
    await kubectl('annotate', 'wg', 'three', 'who=me')
    await kubectl('patch', 'wg', 'three', '--type=merge', '-p', '{"spec":{"note":"hi"}}')
    await kubectl('patch', 'wg', 'three', '--type=json', '-p', '[{"op":"replace","path":"/spec/size","value":6}]')
    await kubectl('patch', 'wg', 'three', '--subresource=status', '--type=merge', '-p', '{"status":{"phase":"Ready"}}')
    await run('kubectl', ['edit', 'wg', 'three'], {
      env: env({ EDITOR: 'sed -i s/note:.hi/note:\\ edited/' }),
      timeout: 15_000,
    })
    expect(await kubectl('get', 'wg', '-l', 'tier=field', '-o', 'wide')).toMatch(/three\s+6\s+Ready\s+edited/)
    expect(await kubectl('describe', 'wg', 'three')).toMatch(/Phase:\s+Ready/)
    expect(await kubectl('get', 'wg', '--field-selector', 'metadata.name=three', '-o', 'name')).toBe(
      'widget.golden.example.dev/three\n',
    )
    expect(await kubectl('get', 'wg', '--sort-by=.spec.size')).toContain('three')
    expect(await kubectl('diff', '-f', widget('three', '{size: 6, note: edited}'))).toBe('')
  })

  it('creates the kinds that kubectl sends as protobuf', async () => {
    await kubectl('create', 'namespace', 'plant')
    await kubectl('create', 'configmap', 'settings', '-n', 'plant', '--from-literal=a=b')
    await kubectl('create', 'secret', 'generic', 'key', '-n', 'plant', '--from-literal=p=q')
    await kubectl('create', 'serviceaccount', 'robot', '-n', 'plant')
    expect(await kubectl('get', 'cm,secret,sa', '-n', 'plant')).toMatch(
      /configmap\/settings\s+1[\s\S]*secret\/key\s+Opaque\s+1[\s\S]*serviceaccount\/robot/,
    )
    expect(await kubectl('get', 'secret', 'key', '-n', 'plant', '-o', 'jsonpath={.data.p}')).toBe('cQ==')
    expect(await kubectl('delete', 'ns', 'plant', '--timeout=10s')).toContain('deleted')
    await expect(kubectl('get', 'cm', 'settings', '-n', 'plant')).rejects.toThrow(/not found/i)
  })

  it('asks who it is and what it may do', async () => {
    expect(await kubectl('auth', 'can-i', 'create', 'pods')).toBe('yes\n')
    expect(await kubectl('auth', 'whoami')).toMatch(/Username\s+admin/)
  })

  it('shows events', async () => {
    const uid = await kubectl('get', 'wg', 'one', '-o', 'jsonpath={.metadata.uid}')
    const event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: 'e1', namespace: 'default' },
      involvedObject: { kind: 'Widget', name: 'one', namespace: 'default', uid },
      reason: 'Tried',
      message: 'it worked',
      type: 'Normal',
      lastTimestamp: new Date().toISOString(),
    }
    await kubectl('create', '-f', file('event.json', JSON.stringify(event)))
    expect(await kubectl('get', 'events')).toMatch(/Normal\s+Tried\s+widget\/one\s+it worked/)
    expect(await kubectl('describe', 'wg', 'one')).toContain('it worked')
  })

  it('waits for a condition and for a delete', async () => {
    await kubectl('apply', '-f', widget('four', '{size: 1}'))
    const waiting = kubectl('wait', '--for=jsonpath={.status.phase}=Ready', 'wg/four', '--timeout=10s')
    await kubectl('patch', 'wg', 'four', '--subresource=status', '--type=merge', '-p', '{"status":{"phase":"Ready"}}')
    expect(await waiting).toContain('condition met')
    const gone = kubectl('wait', '--for=delete', 'wg/four', '--timeout=10s')
    await kubectl('delete', 'wg', 'four')
    await gone
  })

  it('watches changes as they come', async () => {
    await kubectl('apply', '-f', widget('five', '{size: 1}'))
    const watching = spawn('kubectl', ['get', 'wg', 'five', '-w', '--no-headers'], {
      env: env(),
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      const lines = createInterface({ input: watching.stdout })
      const next = async () => String((await once(lines, 'line'))[0])
      expect(await next()).toMatch(/five\s+1/)
      const seen = next()
      await kubectl('patch', 'wg', 'five', '--type=merge', '-p', '{"spec":{"size":7}}')
      expect(await seen).toMatch(/five\s+7/)
    } finally {
      watching.kill()
      await once(watching, 'exit')
    }
  })

  it('runs, lists and deletes a pod as data', async () => {
    await kubectl('run', 'p1', '--image=example/app:1')
    expect(await kubectl('get', 'po', 'p1')).toMatch(/p1\s+0\/1\s+Pending/)
    expect(await kubectl('describe', 'po', 'p1')).toMatch(/Image:\s+example\/app:1/)
    expect(await kubectl('delete', 'po', 'p1', '--timeout=10s')).toContain('deleted')
  })

  it('deletes a definition with its objects', async () => {
    expect(await kubectl('delete', 'crd', 'widgets.golden.example.dev', '--timeout=10s')).toContain('deleted')
    await expect(kubectl('get', 'wg')).rejects.toThrow(/the server (doesn't have|could not find)/)
  })
})
