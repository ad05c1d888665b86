// The workbook that shows what the app does: incidents, approvals, what was missed, what it costs.

@description('Region of the workbook.')
param location string

@description('Tags of every resource.')
param tags object

@description('Name by which the portal lists it.')
param displayName string = 'Endpoint Medic'

@description('Resource ID of the Log Analytics workspace that holds the app\'s log.')
param workspaceId string

@description('Resource ID of the Application Insights component in whose gallery it stands.')
param applicationInsightsId string

@description('Resource ID of the function app.')
param functionAppId string

@description('Resource IDs of the Event Grid system topics that deliver to the app.')
param topicIds array

var shown = loadTextContent('../workbook/endpoint-medic.workbook.json')
var withWorkspace = replace(shown, '<workspace-id>', workspaceId)
var withApp = replace(withWorkspace, '<function-app-id>', functionAppId)
var withTopics = replace(withApp, '["<topic-ids>"]', string(topicIds))

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(applicationInsightsId, 'endpoint-medic')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: displayName
    category: 'workbook'
    sourceId: applicationInsightsId
    version: 'Notebook/1.0'
    serializedData: withTopics
  }
}
