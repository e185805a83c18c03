import { describe, expect, it } from 'vitest'
import { readCatalogue } from '../../cli/catalogue.ts'
import { shelfModel, shelfNames } from './shelf.ts'

describe('the models that come with Sluice', () => {
  it('are those that the command lists, each as the command reads it', async () => {
    const catalogue = readCatalogue()
    expect(await shelfNames()).toEqual(catalogue.map(({ name }) => name).sort())
    for (const { name, model } of catalogue) {
      const [vendor = '', own = ''] = name.split('/')
      expect((await shelfModel(vendor, own)).spec).toEqual(model.spec)
    }
  })

  it.each([
    ['eastron', 'nothing'],
    ['fragments', 'bthome'],
    ['..', 'package'],
    ['eastron', '../eastron/sdm120'],
  ])('are nowhere else: %s/%s', async (vendor, name) => {
    await expect(shelfModel(vendor, name)).rejects.toMatchObject({ code: 'SLUICE_API_NOT_FOUND' })
  })
})
