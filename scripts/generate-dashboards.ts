import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cloudcore } from './dashboards/cloudcore.ts'
import { devices } from './dashboards/devices.ts'
import { fleet } from './dashboards/fleet.ts'
import { gateway } from './dashboards/gateway.ts'
import { type Dashboard, dashboardJson } from './dashboards/panels.ts'

/** `node scripts/generate-dashboards.ts` writes `monitoring/dashboards/`. */
const DIRECTORY = join(import.meta.dirname, '../monitoring/dashboards')

const dashboards: readonly Dashboard[] = [fleet, gateway, devices, cloudcore]

/** File name and text of every dashboard. */
export const dashboardFiles = (): ReadonlyMap<string, string> =>
  new Map(
    dashboards.map((dashboard) => [
      `${dashboard.uid.replace('sluice-', '')}.json`,
      `${JSON.stringify(dashboardJson(dashboard), undefined, 2)}\n`,
    ]),
  )

if (import.meta.main) {
  mkdirSync(DIRECTORY, { recursive: true })
  for (const [name, text] of dashboardFiles()) writeFileSync(join(DIRECTORY, name), text)
}
