import { AS923, AS923_2, AS923_3, AS923_4 } from './as923.ts'
import { AU915 } from './au915.ts'
import { EU868 } from './eu868.ts'
import type { Region } from './region.ts'
import { US915 } from './us915.ts'

export const REGIONS = {
  EU868,
  US915,
  AU915,
  AS923,
  'AS923-2': AS923_2,
  'AS923-3': AS923_3,
  'AS923-4': AS923_4,
} as const satisfies Record<string, Region>

export type RegionName = keyof typeof REGIONS

export const regionOf = (name: RegionName): Region => REGIONS[name]
