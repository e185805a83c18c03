import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { runCloudCore } from './core.ts'

it('starts under a name that leads here only from outside', { timeout: 60_000 }, async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'sluice-advertise-'))
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }))
  const ports = { hubPort: 0, apiPort: 0, kubeletPort: 0 }
  await using core = await runCloudCore({ dataDir, host: '0.0.0.0', advertise: 'cloud.sluice.invalid', ...ports })
  expect(core.info.hubUrl).toMatch(/^https:\/\/cloud\.sluice\.invalid:\d+$/)
  // Those who take the kubeconfig elsewhere come by the advertised name.
  expect(readFileSync(core.info.kubeconfig, 'utf8')).toMatch(/server: "?https:\/\/cloud\.sluice\.invalid:\d+/)
})
