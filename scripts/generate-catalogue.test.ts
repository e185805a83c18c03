import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { catalogueFiles, readCatalogue } from '../cli/catalogue.ts'
import { cataloguePage, evidenceFile, renderCatalogue, renderEvidence } from './generate-catalogue.ts'

it('docs/devices.md is what node scripts/generate-catalogue.ts writes', () => {
  const entries = readCatalogue()
  expect(entries.map(({ name }) => name)).toEqual(catalogueFiles().map(({ name }) => name))
  expect(readFileSync(cataloguePage, 'utf8')).toBe(renderCatalogue(entries))
})

it('devicemodels/evidence.json says of each model what its bytes are', () => {
  expect(readFileSync(evidenceFile, 'utf8')).toBe(renderEvidence())
})
